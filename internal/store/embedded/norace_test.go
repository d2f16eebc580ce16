//go:build !race

package embedded_test

const racing = false
