//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// patience bounds every wait: far more than anything takes on a slow machine.
const patience = 3 * time.Minute

// kdev runs a command to its end and returns all that it printed.
func kdev(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, kdevBinary, args...)
	cmd.Dir = dir
	cmd.Env = environ
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// code runs a command and returns its exit code and output.
func code(t *testing.T, dir string, args ...string) (int, string) {
	t.Helper()
	// Not the test's context: that is over when its cleanup runs `down`.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := kdev(ctx, dir, args...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, out
	case errors.As(err, &exit):
		return exit.ExitCode(), out
	}
	t.Fatalf("kdev %s: %v\n%s", strings.Join(args, " "), err, out)
	return -1, ""
}

// A process is a kdev that runs in the background.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}
	err  error

	mu    sync.Mutex
	out   []byte
	grown chan struct{}
	seen  int // what expect has already consumed
}

// start runs a command in the background; the test's end kills it.
func start(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	p := &process{t: t, done: make(chan struct{}), grown: make(chan struct{}, 1)}
	p.cmd = exec.Command(kdevBinary, args...)
	p.cmd.Dir = dir
	p.cmd.Env = environ
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("kdev %s printed, without requests that were served:\n%s", strings.Join(args, " "), quiet(p.text()))
		}
	})
	return p
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = append(p.out, b...)
	select {
	case p.grown <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.out)
}

// expect waits until text appears in output that no earlier expect consumed.
func (p *process) expect(text string) {
	p.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		p.mu.Lock()
		i := bytes.Index(p.out[p.seen:], []byte(text))
		if i >= 0 {
			p.seen += i + len(text)
		}
		p.mu.Unlock()
		if i >= 0 {
			return
		}
		select {
		case <-p.grown:
		case <-p.done:
			p.t.Fatalf("kdev ended (%v) before it printed %q:\n%s", p.err, text, p.text())
		case <-timeout.C:
			p.t.Fatalf("kdev did not print %q", text)
		}
	}
}

// quiet leaves out the example's access log, which would drown the rest.
func quiet(out string) string {
	var b strings.Builder
	for line := range strings.Lines(out) {
		if !strings.Contains(line, `"GET /`) && !strings.Contains(line, " coin found") && !strings.Contains(line, " hashes, ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// mark forgets what was printed so far, for expect.
func (p *process) mark() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = len(p.out)
}

// interrupt sends Ctrl-C and returns the exit code.
func (p *process) interrupt() int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.t.Fatalf("kdev did not end on Ctrl-C:\n%s", p.text())
	}
	return p.cmd.ProcessState.ExitCode()
}

// eventually polls for a condition of the outside world, which has no signal
// to wait for.
func eventually(t *testing.T, what string, ok func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		done, is := ok()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: still %s", what, is)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// project copies an example into a folder of its own, with a namespace of its
// own.
func project(t *testing.T, example string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), example)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(repo, "examples", example))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// edit replaces text in a file as an editor does: a new file renamed over the old.
func edit(t *testing.T, file, old, new string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(old)) {
		t.Fatalf("%s does not contain %q", file, old)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	tmp := filepath.Join(t.TempDir(), filepath.Base(file)) // beside it, a slow machine would sync it too
	if err := os.WriteFile(tmp, bytes.ReplaceAll(b, []byte(old), []byte(new)), info.Mode().Perm()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, file); err != nil {
		t.Fatal(err)
	}
}

// appendTo adds text to a file in place.
func appendTo(t *testing.T, file, text string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.WriteString(f, text); err != nil {
		t.Fatal(err)
	}
}

// pods maps each pod of a namespace by its app: the label that the example's
// workloads carry.
func pods(t *testing.T, namespace string) map[string][]corev1.Pod {
	t.Helper()
	list, err := api.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	by := map[string][]corev1.Pod{}
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil {
			by[p.Labels["app"]] = append(by[p.Labels["app"]], p)
		}
	}
	return by
}

// identities is what must not change when nothing is restarted: pods and the
// containers in them.
func identities(t *testing.T, namespace string) map[string]string {
	t.Helper()
	ids := map[string]string{}
	for app, list := range pods(t, namespace) {
		for _, p := range list {
			var containers []string
			for _, c := range p.Status.ContainerStatuses {
				containers = append(containers, fmt.Sprintf("%s restarts=%d", c.ContainerID, c.RestartCount))
			}
			ids[app+"/"+p.Name] = strings.Join(containers, ",")
		}
	}
	return ids
}

// get fetches a page.
func get(url string) (string, error) {
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return string(b), err
}

// inContainer reads a file of a pod's container through the node's /proc: no
// exec, no tool of kdev's. The container is found by its pod's UID in the
// cgroup of its processes.
func inContainer(pod corev1.Pod, path string) ([]byte, error) {
	uid := string(pod.UID)
	procs, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return nil, err
	}
	for _, proc := range procs {
		b, err := os.ReadFile(proc)
		if err != nil || !(bytes.Contains(b, []byte(uid)) || bytes.Contains(b, []byte(strings.ReplaceAll(uid, "-", "_")))) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(filepath.Dir(proc), "root", path))
		if err == nil {
			return content, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s is in no container of pod %s: %w", path, pod.Name, fs.ErrNotExist)
}
