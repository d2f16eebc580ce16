//go:build unix && !linux

package disk

// Sync is os.File.Sync, which on darwin is F_FULLFSYNC: fsync there only hands
// the bytes to the drive.
func (f osFile) Sync() error { return f.File.Sync() }

// Allocate writes zeros.
func (f osFile) Allocate(size int64) error { return zeroFill(f.File, size) }
