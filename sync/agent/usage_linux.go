package agent

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Usage prints what the container takes, as its own cgroup says: the time of
// processors since it began, in nanoseconds, and the bytes of its working set, which is
// what counts against a limit. It returns the exit code.
func Usage() int {
	cpu, memory, err := usage("/sys/fs/cgroup")
	if err == nil {
		_, err = os.Stdout.WriteString(strconv.FormatInt(cpu, 10) + " " + strconv.FormatInt(memory, 10) + "\n")
	}
	if err != nil {
		os.Stderr.WriteString("usage: " + err.Error() + "\n")
		return 1
	}
	return 0
}

// usage reads a cgroup, of version 2 or 1 (cgroups(7)): a container sees its own at the
// root. The working set is the kubelet's: all memory but files that were not read of late.
func usage(root string) (cpu, memory int64, err error) {
	if stat, err := os.ReadFile(filepath.Join(root, "cpu.stat")); err == nil {
		micros, err := field(stat, "usage_usec")
		if err != nil {
			return 0, 0, err
		}
		memory, err = workingSet(root, "memory.current", "inactive_file")
		return 1000 * micros, memory, err
	}
	if cpu, err = number(filepath.Join(root, "cpuacct", "cpuacct.usage")); err != nil {
		return 0, 0, err
	}
	memory, err = workingSet(filepath.Join(root, "memory"), "memory.usage_in_bytes", "total_inactive_file")
	return cpu, memory, err
}

func workingSet(dir, all, inactive string) (int64, error) {
	used, err := number(filepath.Join(dir, all))
	if err != nil {
		return 0, err
	}
	stat, err := os.ReadFile(filepath.Join(dir, "memory.stat"))
	if err != nil {
		return 0, err
	}
	idle, err := field(stat, inactive)
	return max(0, used-idle), err
}

func number(file string) (int64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
}

// field is one of the lines "NAME NUMBER".
func field(stat []byte, name string) (int64, error) {
	for line := range strings.Lines(string(stat)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, errors.New("no " + name + " in the cgroup")
}
