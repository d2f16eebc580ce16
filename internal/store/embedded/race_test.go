//go:build race

package embedded_test

// racing says that the race detector runs, with which SQLite, which is Go here,
// takes ten times as long.
const racing = true
