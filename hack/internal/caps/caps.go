// Package caps names the capabilities that this machine can never grant.
//
// It reads the text of /proc/self/status and the table of capability names; it changes nothing and calls nothing.
package caps

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Missing returns the capabilities of this table's kernel that the bounding set in /proc/self/status lacks, in the order of their numbers.
func Missing() ([]string, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return nil, fmt.Errorf("reading the capability bounding set: %w", err)
	}
	defer f.Close()
	last := len(names) - 1
	if b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap"); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			last = n
		}
	}
	return missing(f, last)
}

// missing compares the CapBnd line of status with the capabilities 0 to last.
// What the kernel does not have is not missing: runc leaves it out by itself.
func missing(status io.Reader, last int) ([]string, error) {
	lines := bufio.NewScanner(status)
	for lines.Scan() {
		hex, ok := strings.CutPrefix(lines.Text(), "CapBnd:")
		if !ok {
			continue
		}
		set, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		if err != nil {
			return nil, fmt.Errorf("reading the capability bounding set: %w", err)
		}
		var absent []string
		for n, name := range names[:min(last+1, len(names))] {
			if set&(1<<n) == 0 {
				absent = append(absent, name)
			}
		}
		return absent, nil
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the capability bounding set: %w", err)
	}
	return nil, fmt.Errorf("reading the capability bounding set: no CapBnd line")
}

// Without returns have without the names in absent, and whether anything was taken away.
func Without(have, absent []string) ([]string, bool) {
	kept := slices.DeleteFunc(slices.Clone(have), func(c string) bool { return slices.Contains(absent, c) })
	return kept, len(kept) != len(have)
}

// names holds the capability of each bit, as in the kernel's include/uapi/linux/capability.h.
var names = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW",
	"CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
	"CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD",
	"CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
	"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}
