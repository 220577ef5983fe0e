package session

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/local"
	"github.com/kdev-io/kdev/sync/tunnel"
)

// program listens on this machine and says back what it hears, until all that
// connects to it has ended.
func program(t *testing.T) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// standing is a stand of a service whose container has one port, 8080, with a tunnel
// to its container. Each call of serve that has ended is told.
func standing(t *testing.T, c *config.StandIn) (st *stand, pod *tunnel.Tunnel, ended chan int) {
	t.Helper()
	c.Name = "api"
	s := New(Options{Project: &config.Project{Name: "shop", Namespace: "shop"}}, Parts{Cluster: &cluster.Cluster{}})
	st = newStand(t.Context(), s, c)
	t.Cleanup(st.close)
	ended = make(chan int, 10)
	a, b := net.Pipe()
	pod = tunnel.New(a, nil)
	here := tunnel.New(b, func(conn *tunnel.Conn) {
		st.serve(t.Context(), conn, []int{8080})
		ended <- conn.Port
	})
	t.Cleanup(func() { pod.Close(); here.Close() })
	return st, pod, ended
}

// said is what comes back of a word that is sent to a port of the container.
func said(t *testing.T, pod *tunnel.Tunnel, port int) (string, error) {
	t.Helper()
	c, err := pod.Open(port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte("hello"))
	_ = c.CloseWrite()
	back, err := io.ReadAll(c)
	return string(back), err
}

// TestServeReachesTheProgramAlone: a pod names the port that a connection came to,
// and this machine has programs that no pod should reach.
func TestServeReachesTheProgramAlone(t *testing.T) {
	st, pod, _ := standing(t, &config.StandIn{Port: program(t)})
	if back, err := said(t, pod, 8080); back != "hello" || err != nil {
		t.Errorf("its own port: %q, %v", back, err)
	}
	if back, err := said(t, pod, program(t)); back != "" || err == nil {
		t.Errorf("another program's port: %q, %v", back, err)
	}
	st.avoid(map[int]string{st.config.Port: "the router"})
	if back, err := said(t, pod, 8080); back != "" || err == nil {
		t.Errorf("a port of kdev's own: %q, %v", back, err)
	}
}

// TestServeEndsWithItsConnection: whoever connected may leave while the program says
// nothing, and while there is none.
func TestServeEndsWithItsConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, pod, ended := standing(t, &config.StandIn{Port: l.Addr().(*net.TCPAddr).Port})
	c, err := pod.Open(8080)
	if err != nil {
		t.Fatal(err)
	}
	silent, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_ = c.CloseWrite()
	_, _ = io.ReadAll(silent)
	_ = c.Close()
	<-ended
}

// TestEnvironmentIsBounded: a container says what it likes.
func TestEnvironmentIsBounded(t *testing.T) {
	st, _, _ := standing(t, &config.StandIn{})
	ctx, cancel := context.WithCancel(t.Context())
	var failed error
	st.print = func(_ context.Context, _ containerKey, out io.Writer, _ ...string) error {
		if failed == nil {
			_, failed = io.Copy(out, strings.NewReader(strings.Repeat("A=1\x00", longestEnvironment)))
			return failed
		}
		cancel()
		return errors.New("enough")
	}
	st.readEnvironment(ctx, containerKey{"api-1", "api"})
	if vars, read, _ := st.environment(); read != 0 || failed == nil {
		t.Errorf("%d variables were taken, %v", len(vars), failed)
	}
}

// TestReachOpensLaterPorts: a Service may get a port after a program has named it.
func TestReachOpensLaterPorts(t *testing.T) {
	st, _, _ := standing(t, &config.StandIn{})
	free := func() int {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().(*net.TCPAddr).Port
	}
	db := named{name: "db", ports: []int{free()}}
	if at, ok := st.reach(db); !ok || len(at.ports) != 1 {
		t.Fatalf("%v, %v", at, ok)
	}
	db.ports = append(db.ports, free())
	at, ok := st.reach(db)
	if !ok || at.ports[db.ports[0]] == 0 || at.ports[db.ports[1]] == 0 {
		t.Errorf("%v, %v", at, ok)
	}
	if len(st.doors) != 2 {
		t.Errorf("%d ports are open", len(st.doors))
	}
}

// idle is work that only counts how often it was asked for.
type idle struct{ asked int }

func (w *idle) Ask()                 { w.asked++ }
func (w *idle) Run(context.Context)  {}
func (w *idle) Status() local.Status { return local.Status{} }

// TestReleaseBeforeTheEnvironment: what was saved does not start a program whose
// environment is not known.
func TestReleaseBeforeTheEnvironment(t *testing.T) {
	l := routed(t, 0)
	svc, work := l.byName["web"], &idle{}
	svc.here = &unit{work: work}
	svc.hold("package.json")
	l.release(svc)
	if work.asked != 0 || len(svc.saved) != 0 {
		t.Errorf("it was asked for %d times, %d paths wait", work.asked, len(svc.saved))
	}
	svc.here.asked = true
	svc.hold("package.json")
	l.release(svc)
	if work.asked != 1 {
		t.Errorf("it was asked for %d times", work.asked)
	}
}

// TestRollbackDuringADecision: what is found of the tree does not undo it.
func TestRollbackDuringADecision(t *testing.T) {
	l := routed(t, 0)
	svc := l.byName["web"]
	svc.deciding = true
	rolledBack{"web", "registry/web@sha256:1", &build.Record{}}.apply(l)
	if !svc.redecide {
		t.Error("the decision under way counts")
	}
}

// TestStandPorts: a port that no container names is the first one's alone, and what
// is not TCP is told.
func TestStandPorts(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	api := fake.NewClientset(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt(9090)}, {Port: 15001}}},
	})
	live, err := kube.Watch(ctx, &kube.Client{Core: api}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); live.Wait() })
	l := routed(t, 0)
	l.s.parts.Live = live
	var told []string
	l.s.OnNotice(func(n Notice) { told = append(told, n.Text) })
	svc := l.byName["web"]
	svc.StandIn = &config.StandIn{}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{
			{Name: "proxy", Ports: []corev1.ContainerPort{{ContainerPort: 15001}}},
			{Name: "web", Ports: []corev1.ContainerPort{{ContainerPort: 8080}, {ContainerPort: 53, Protocol: corev1.ProtocolUDP}}},
			{Name: "worker"},
		}},
	}
	if got := l.standPorts(svc, pod, "web", true); !slices.Equal(got, []int{8080, 9090}) {
		t.Errorf("the first one has %d", got)
	}
	if got := l.standPorts(svc, pod, "worker", false); len(got) != 0 {
		t.Errorf("the second one has %d", got)
	}
	if len(told) != 1 || !strings.Contains(told[0], "53/UDP") {
		t.Errorf("told %q", told)
	}
}

func TestOnLoopback(t *testing.T) {
	hosts := []string{"localhost", "127.0.0.1", "127.0.0.9", "::1", "0.0.0.0", "192.0.2.1", "example.com"}
	got := slices.DeleteFunc(slices.Clone(hosts), func(h string) bool { return !onLoopback(h) })
	if !slices.Equal(got, hosts[:5]) {
		t.Errorf("%q", got)
	}
}
