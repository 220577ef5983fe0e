//go:build unix

package main

import (
	"runtime"
	"syscall"
	"time"
)

// processor is the time that this process has had so far.
func processor() time.Duration {
	u := usage()
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resident is the most memory that this process ever held, in bytes.
func resident() int64 {
	most := int64(usage().Maxrss)
	if runtime.GOOS == "linux" {
		most <<= 10 // getrusage(2) counts in kilobytes there
	}
	return most
}

func usage() (u syscall.Rusage) {
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // only for an address that is not ours
	}
	return u
}
