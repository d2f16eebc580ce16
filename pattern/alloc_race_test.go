//go:build race

package pattern_test

// allocations is how many a match may make on average. The race detector makes
// a sync.Pool forget some of what it is given.
const allocations = 50
