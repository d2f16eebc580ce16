package bench

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// usage is what a process has used of the machine.
type usage struct {
	CPU time.Duration `json:"cpu_ns"` // user and system, since its start
	RSS int64         `json:"rss"`    // bytes of memory that it holds now
}

// measureUsage measures this process.
func measureUsage() (*usage, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return nil, fmt.Errorf("asking for the usage of this process: %w", err)
	}
	u := &usage{CPU: time.Duration(r.Utime.Nano() + r.Stime.Nano()), RSS: resident()}
	if u.RSS == 0 {
		// Where /proc is missing the largest so far has to do.
		u.RSS = int64(r.Maxrss) //nolint:unconvert // the width differs between systems
		if runtime.GOOS == "linux" {
			u.RSS <<= 10
		}
	}
	return u, nil
}

// resident is the second field of /proc/self/statm, in bytes, or 0.
func resident() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
