//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// replacements is how many pods TestForwardedPort takes away: a few in CI,
// KDEV_E2E_REPLACEMENTS for `make chaos-ports`.
func replacements(t *testing.T) int {
	t.Helper()
	text := os.Getenv("KDEV_E2E_REPLACEMENTS")
	if text == "" {
		return 5
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestForwardedPort replaces the only pod behind a forwarded port again and again
// while it is asked all the time. The port stays open, whoever asks between two
// pods gets the next one's answer, and every new pod is served.
func TestForwardedPort(t *testing.T) {
	const ns = "session"
	dir := filepath.Join(t.TempDir(), ns)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(repo, "test", "e2e", "testdata", ns))); err != nil {
		t.Fatal(err)
	}
	// Without a probe a pod is Ready before anything in it listens.
	appendTo(t, filepath.Join(dir, "deploy", "web.yaml"), "          readinessProbe: {httpGet: {path: /page.txt, port: 8080}, periodSeconds: 1}\n")
	up := start(t, dir, "up", "web")
	up.expect("everything is ready")
	load := ask(t, "http://127.0.0.1:18991/page.txt")
	var recovery []time.Duration
	for i := range replacements(t) {
		recovery = append(recovery, replace(t, i, ns, "web", load))
	}
	// Errors outside of the time between a pod's end and the first answer of the next.
	for _, err := range load.end() {
		t.Errorf("while a pod was ready: %v", err)
	}
	slices.Sort(recovery)
	t.Logf("%d replacements: from Ready to the first answer %v in the middle, %v at most", len(recovery), recovery[len(recovery)/2], recovery[len(recovery)-1])
	if got := up.interrupt(); got != 130 {
		t.Errorf("Ctrl-C: exit code %d", got)
	}
	if got, out := code(t, dir, "down"); got != 0 {
		t.Errorf("down: %d\n%s", got, out)
	}
}

// replace takes the only pod of an app away and returns how long after the next one
// was Ready the load had an answer. The port must have been open all the time.
func replace(t *testing.T, i int, ns, app string, load *load) time.Duration {
	t.Helper()
	old := pods(t, ns)[app][0]
	gone := time.Now()
	now := int64(0)
	if err := api.CoreV1().Pods(ns).Delete(t.Context(), old.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	ready := becomesReady(t, ns, old)
	served := load.next(t)
	if refused := load.failures(gone, served, func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }); len(refused) > 0 {
		t.Errorf("replacement %d: the port was closed: %v", i, refused[0])
	}
	load.quietFrom(served)
	return served.Sub(ready)
}

// becomesReady returns when another pod than old is Ready, as the API says.
func becomesReady(t *testing.T, ns string, old corev1.Pod) time.Time {
	t.Helper()
	w, err := api.CoreV1().Pods(ns).Watch(t.Context(), metav1.ListOptions{LabelSelector: "app=" + old.Labels["app"]})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	timeout := time.After(patience)
	for {
		select {
		case e := <-w.ResultChan():
			p, ok := e.Object.(*corev1.Pod)
			if !ok || p.UID == old.UID {
				continue
			}
			for _, c := range p.Status.Conditions {
				if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
					return time.Now()
				}
			}
		case <-timeout:
			t.Fatal("no other pod became ready")
		}
	}
}

// A load asks a URL all the time, each time over a new connection, four at once.
type load struct {
	mu       sync.Mutex
	answered chan struct{} // closed and replaced at each answer
	failed   []failure
	quiet    time.Time // failures before it were looked at
	stop     chan struct{}
	work     sync.WaitGroup
}

type failure struct {
	asked, at time.Time
	err       error
}

func ask(t *testing.T, url string) *load {
	l := &load{answered: make(chan struct{}), stop: make(chan struct{})}
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: loopback}}
	for range 4 {
		l.work.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				began := time.Now()
				resp, err := client.Get(url)
				if err == nil {
					resp.Body.Close()
					if resp.StatusCode != http.StatusOK {
						err = fmt.Errorf("%s", resp.Status)
					}
				}
				l.note(began, err)
			}
		})
	}
	t.Cleanup(func() { l.end() })
	return l
}

// loopback leads every name below localhost to this machine, as browsers do.
func loopback(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(host, ".localhost") {
		addr = net.JoinHostPort("127.0.0.1", port)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

func (l *load) note(asked time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed = append(l.failed, failure{asked, time.Now(), err})
		return
	}
	close(l.answered)
	l.answered = make(chan struct{})
}

// next returns the time of the next answer.
func (l *load) next(t *testing.T) time.Time {
	t.Helper()
	timeout := time.After(patience)
	for {
		l.mu.Lock()
		answered := l.answered
		l.mu.Unlock()
		select {
		case <-answered:
			return time.Now()
		case <-timeout:
			t.Fatal("the new pod is not served")
		}
	}
}

// failures lists those in a span of time that fit.
func (l *load) failures(from, to time.Time, fit func(error) bool) (errs []error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.failed {
		if f.at.After(from) && f.at.Before(to) && fit(f.err) {
			errs = append(errs, f.err)
		}
	}
	return errs
}

// quietFrom forgets the failures of questions that were asked before a moment:
// what was on its way to a pod that was killed is lost with it.
func (l *load) quietFrom(moment time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = slices.DeleteFunc(l.failed, func(f failure) bool { return f.asked.Before(moment) })
	l.quiet = moment
}

// end stops asking and returns the failures that are left.
func (l *load) end() (errs []error) {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.work.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.failed {
		if f.asked.After(l.quiet) {
			errs = append(errs, f.err)
		}
	}
	return errs
}
