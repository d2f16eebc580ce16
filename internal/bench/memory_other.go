//go:build !linux

package bench

// inMemory reports whether the files of a directory are in memory, as far as that
// can be told.
func inMemory(string) bool { return false }
