//go:build !race

package pattern_test

// allocations is how many a match may make on average.
const allocations = 0
