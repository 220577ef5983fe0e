//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A tail is a running command that shows logs; its output goes to a file.
type tail struct {
	t      testing.TB
	cmd    *exec.Cmd
	file   string
	err    *buffer
	exited chan struct{}
}

// environment keeps a person's configuration out.
func environment(home string) []string {
	return append(os.Environ(), "KUBECONFIG="+config, "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_STATE_HOME="+home, "NO_COLOR=1")
}

// logs starts `kdev logs` with times, so that [compare] can hold it against an
// oracle.
func logs(t testing.TB, namespace string, args ...string) *tail {
	t.Helper()
	args = append([]string{"logs", "-n", namespace, "-t", "--timezone=UTC"}, args...)
	return command(t, binary, args...)
}

func command(t testing.TB, name string, args ...string) *tail {
	t.Helper()
	dir := t.TempDir()
	p := &tail{t: t, file: filepath.Join(dir, "out"), err: &buffer{}, exited: make(chan struct{})}
	out, err := os.Create(p.file)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p.cmd = exec.Command(name, args...)
	p.cmd.Dir, p.cmd.Env = dir, environment(dir)
	p.cmd.Stdout, p.cmd.Stderr = out, p.err
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("%s %s wrote to stderr:\n%s", filepath.Base(name), strings.Join(args, " "), p.err.String())
		}
	})
	return p
}

// text is what was written so far.
func (p *tail) text() string {
	p.t.Helper()
	b, err := os.ReadFile(p.file)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// await waits until ok is true of the output.
func (p *tail) await(what string, ok func(out string) bool) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok(p.text()) {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s: did not come; the output ends with:\n%s", what, last(p.text(), 20))
		}
		select {
		case <-p.exited:
			if ok(p.text()) {
				return
			}
			p.t.Fatalf("%s: the command left with %d before", what, p.cmd.ProcessState.ExitCode())
		case <-time.After(20 * time.Millisecond): // a file has no signal to wait for
		}
	}
}

func (p *tail) expect(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		p.await(fmt.Sprintf("%q", text), func(out string) bool { return strings.Contains(out, text) })
	}
}

// code waits for the command's end.
func (p *tail) code() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatal("the command does not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// interrupt is Ctrl-C.
func (p *tail) interrupt() int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		p.t.Fatal(err)
	}
	return p.code()
}

func last(text string, n int) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n-1):], "")
}

// shown reads an output of [logs]: pod, container, time, text.
func (p *tail) shown() map[string][]written {
	p.t.Helper()
	f, err := os.Open(p.file)
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	out := map[string][]written{}
	for in := bufio.NewReaderSize(f, 1<<20); ; {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			return out
		}
		if err != nil {
			p.t.Fatal(err)
		}
		fields := bytes.SplitN(bytes.TrimSuffix(line, []byte("\n")), []byte(" "), 4)
		var at time.Time
		if len(fields) == 4 {
			at, err = time.Parse(time.RFC3339Nano, string(fields[2]))
		}
		if len(fields) != 4 || err != nil {
			p.t.Fatalf("not a line with a time: %q", line)
		}
		key := string(fields[0]) + " " + string(fields[1])
		out[key] = append(out[key], written{at.UnixNano(), string(fields[3])})
	}
}

// A difference is what one container's output lacks, has twice, or has in another
// order.
type difference struct {
	missing, doubled, disordered []written
}

func (d *difference) none() bool { return len(d.missing)+len(d.doubled)+len(d.disordered) == 0 }

// compare holds lines against those that were written.
func compare(want, got []written) difference {
	var d difference
	left := map[written]int{}
	for _, w := range want {
		left[w]++
	}
	for _, g := range got {
		if left[g]--; left[g] < 0 {
			d.doubled = append(d.doubled, g)
		}
	}
	counted := map[written]int{}
	var kept []written // what was written and is shown, in the order of writing
	for _, w := range want {
		counted[w]++
	}
	for _, w := range want {
		if missing := left[w]; missing > 0 {
			left[w]--
			d.missing = append(d.missing, w)
			continue
		}
		kept = append(kept, w)
	}
	if len(d.doubled) == 0 && len(kept) == len(got) {
		for i := range kept {
			if kept[i] != got[i] {
				d.disordered = append(d.disordered, got[i])
			}
		}
	}
	return d
}

// total counts the lines of all containers.
func total(by map[string][]written) int {
	n := 0
	for _, lines := range by {
		n += len(lines)
	}
	return n
}

// same fails the test where the output is not what was written.
func same(t testing.TB, want, got map[string][]written) {
	t.Helper()
	for key, lines := range want {
		d := compare(lines, got[key])
		if !d.none() {
			t.Errorf("%s: of %d lines %d are missing %.3v, %d doubled %.3v, %d in another order %.3v", key, len(lines),
				len(d.missing), head(d.missing), len(d.doubled), head(d.doubled), len(d.disordered), head(d.disordered))
		}
	}
	for key := range got {
		if want[key] == nil {
			t.Errorf("%s: %d lines of a container that wrote none", key, len(got[key]))
		}
	}
}

func head(lines []written) []string {
	var out []string
	for _, w := range lines[:min(3, len(lines))] {
		out = append(out, fmt.Sprintf("%s %.60q", time.Unix(0, w.time).UTC().Format("15:04:05.000000000"), w.text))
	}
	return out
}

// A buffer is an output that is read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
