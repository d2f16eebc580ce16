package bench

import "syscall"

// tmpfsMagic is the f_type of tmpfs (statfs(2)).
const tmpfsMagic = 0x01021994

// inMemory reports whether the files of a directory are in memory.
func inMemory(dir string) bool {
	var s syscall.Statfs_t
	return syscall.Statfs(dir, &s) == nil && s.Type == tmpfsMagic
}
