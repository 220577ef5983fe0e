package agent

import (
	"os"
	"path/filepath"
	"testing"
)

func TestUsage(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"version 2": {
			"cpu.stat":       "usage_usec 2500\nuser_usec 2000\nsystem_usec 500\n",
			"memory.current": "9000\n",
			"memory.stat":    "anon 5000\nfile 4000\ninactive_anon 7\ninactive_file 3000\nactive_file 1000\n",
		},
		"version 1": {
			"cpuacct/cpuacct.usage":        "2500000\n",
			"memory/memory.usage_in_bytes": "9000\n",
			"memory/memory.stat":           "inactive_file 1\ntotal_inactive_file 3000\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for file, text := range files {
				at := filepath.Join(root, file)
				if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cpu, memory, err := usage(root)
			if cpu != 2_500_000 || memory != 6000 || err != nil {
				t.Errorf("%d ns, %d bytes, %v", cpu, memory, err)
			}
		})
	}
	if _, _, err := usage(t.TempDir()); err == nil {
		t.Error("no cgroup, and no error")
	}
}
