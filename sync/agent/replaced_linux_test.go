package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/sync/protocol"
)

// What batches replace and remove is let go, once they were answered: also what is
// replaced again in the next one, and what had many names at once.
func TestReplacedFilesAreFreed(t *testing.T) {
	c, cl := start(t)
	dir := t.TempDir()
	const many = 300
	for round := range 3 {
		var ops []protocol.Message
		for i := range many {
			ops = append(ops, put(fmt.Sprintf("d%d/f%d", i%90, i), fmt.Sprint(round)))
		}
		cl.done(cl.batch(dir, nil, ops...))
	}
	var gone []protocol.Message
	for i := range many {
		gone = append(gone, &protocol.Remove{Target: target(fmt.Sprintf("d%d/f%d", i%90, i), regular("2"))})
	}
	cl.done(cl.batch(dir, nil, gone...))
	open := func() (all []string) {
		fds := fmt.Sprintf("/proc/%d/fd", c.Cmd.Process.Pid)
		list, err := os.ReadDir(fds)
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range list {
			if to, err := os.Readlink(filepath.Join(fds, fd.Name())); err == nil && strings.HasPrefix(to, dir) {
				all = append(all, to)
			}
		}
		return all
	}
	eventually(t, "no file of the folder is open", func() bool { return len(open()) == 0 })
	if got := names(t, dir); strings.Contains(got, "f") || strings.Contains(got, ".kdev") {
		t.Errorf("there is %q", got)
	}
}
