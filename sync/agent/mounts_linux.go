package agent

import (
	"os"
	"sort"
	"strings"

	"github.com/kdev-io/kdev/sync/protocol"
)

// mounts lists what is mounted in the container besides its root and the
// kernel's own file systems, from /proc/self/mountinfo (proc_pid_mountinfo(5)).
func mounts() []protocol.Mount {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	return parseMounts(string(data))
}

func parseMounts(info string) []protocol.Mount {
	byPath := map[string]protocol.Mount{}
	for line := range strings.Lines(info) {
		before, after, found := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !found || len(f) < 6 || len(g) < 3 {
			continue
		}
		switch g[0] {
		case "proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "devtmpfs":
			continue
		}
		where := unescape(f[4])
		if where == "/" || where == "/dev" || strings.HasPrefix(where, "/dev/") || strings.HasPrefix(where, "/proc/") || strings.HasPrefix(where, "/sys/") {
			continue
		}
		// A later line covers an earlier one at the same place.
		byPath[where] = protocol.Mount{
			Path: where, FSType: g[0],
			ReadOnly: hasOption(f[5], "ro") || hasOption(g[2], "ro"),
			Identity: f[2] + " " + unescape(f[3]),
		}
	}
	all := make([]protocol.Mount, 0, len(byPath))
	for _, m := range byPath {
		all = append(all, m)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Path < all[j].Path })
	return all
}

func hasOption(options, want string) bool {
	for o := range strings.SplitSeq(options, ",") {
		if o == want {
			return true
		}
	}
	return false
}

// unescape turns \040 and its like back.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, ok := octal(s[i+1 : i+4]); ok {
				b.WriteByte(v)
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(s string) (byte, bool) {
	v := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '7' {
			return 0, false
		}
		v = v<<3 | int(s[i]-'0')
	}
	return byte(v), v < 256
}
