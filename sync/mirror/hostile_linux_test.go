package mirror

import (
	"context"
	"crypto/rand"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kdev-io/kdev/sync/agent/agenttest"
	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/protocol"
)

// A villain is dialled in the place of an agent.
type villain struct {
	*agenttest.Cluster
	talk  func(io.ReadWriter)
	ended chan struct{} // holds something when kdev has ended a connection
}

func (v *villain) Dial(ctx context.Context, ns, pod, container string) (io.ReadWriteCloser, error) {
	if pod != "villain" {
		return v.Cluster.Dial(ctx, ns, pod, container)
	}
	// Sockets take what is sent before anybody reads it, as an exec stream does.
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	var ends [2]net.Conn
	for i, fd := range pair {
		f := os.NewFile(uintptr(fd), "villain")
		if ends[i], err = net.FileConn(f); err != nil {
			return nil, err
		}
		f.Close()
	}
	go func() {
		defer ends[1].Close()
		v.talk(ends[1])
		io.Copy(io.Discard, ends[1])
		select {
		case v.ended <- struct{}{}:
		default:
		}
	}()
	return ends[0], nil
}

// forever sends messages until nobody takes them.
func forever(w io.Writer, m protocol.Message) {
	out := protocol.NewWriter(w)
	for out.Send(m) == nil && out.Flush() == nil {
	}
}

// Whatever comes out of a container, kdev lives, the connection ends, and the other
// containers get their files.
func TestHostileAgent(t *testing.T) {
	welcome := &protocol.Welcome{Protocol: protocol.Version, Run: true, Boot: [16]byte{1}}
	long := strings.Repeat("x", 200<<10)
	// hello answers like an agent that knows these paths.
	hello := func(rw io.ReadWriter, entries ...protocol.Entry) *protocol.Reader {
		in, out := protocol.NewReader(rw), protocol.NewWriter(rw)
		in.Receive()
		out.Send(welcome)
		out.Send(&protocol.State{Entries: entries, Last: true})
		out.Flush()
		return in
	}
	// batch reads up to the end of one.
	batch := func(in *protocol.Reader) (begin protocol.Begin) {
		for {
			m, err := in.Receive()
			if err != nil {
				return begin
			}
			switch m := m.(type) {
			case *protocol.Begin:
				begin = *m
			case *protocol.End:
				return begin
			}
		}
	}
	for name, talk := range map[string]func(io.ReadWriter){
		"random bytes": func(rw io.ReadWriter) {
			protocol.NewReader(rw).Receive()
			io.Copy(rw, io.LimitReader(rand.Reader, 1<<20))
		},
		"a length of 4 GB": func(rw io.ReadWriter) {
			protocol.NewReader(rw).Receive()
			rw.Write([]byte("\xff\xff\xff\xff\x00\x00\x00\x00\x01"))
		},
		"a path that is none": func(rw io.ReadWriter) {
			hello(rw, protocol.Entry{Path: "aaa/..", File: protocol.File{Type: protocol.Regular}})
		},
		"a path that leads out": func(rw io.ReadWriter) {
			hello(rw, protocol.Entry{Path: "/app/../../etc/passwd", File: protocol.File{Type: protocol.Regular}})
		},
		"a state without an end": func(rw io.ReadWriter) {
			in, out := protocol.NewReader(rw), protocol.NewWriter(rw)
			in.Receive()
			out.Send(welcome)
			out.Flush()
			forever(rw, &protocol.State{Entries: []protocol.Entry{{Path: "/a", File: protocol.File{Type: protocol.Symlink, Link: long}}}})
		},
		"answers that nobody asked for": func(rw io.ReadWriter) {
			hello(rw)
			forever(rw, &protocol.Answer{Entries: []protocol.Entry{{Path: "/a"}}})
		},
		"notices without an end": func(rw io.ReadWriter) {
			hello(rw)
			forever(rw, &protocol.Notice{What: protocol.NoticeStarted})
		},
		"an acknowledgement without an end": func(rw io.ReadWriter) {
			begin := batch(hello(rw))
			forever(rw, &protocol.Ack{Generation: begin.Generation, Results: []protocol.Result{{Path: "/a", Code: protocol.Full, Text: long}}, More: true})
		},
		"an acknowledgement of another batch": func(rw io.ReadWriter) {
			begin := batch(hello(rw))
			out := protocol.NewWriter(rw)
			out.Send(&protocol.Ack{Generation: begin.Generation + 7, Acted: true})
			out.Flush()
		},
		"a welcome to another protocol": func(rw io.ReadWriter) {
			protocol.NewReader(rw).Receive()
			out := protocol.NewWriter(rw)
			out.Send(&protocol.Welcome{Protocol: 99})
			out.Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			v := &villain{Cluster: b.cluster, talk: talk, ended: make(chan struct{}, 1)}
			b.m.opts.Dial = v
			root := t.TempDir()
			b.cluster.Set("good", agenttest.Start(t, "sleep", "1000"))
			x := b.write("x", "1", 0o644)
			b.m.SetDesired("web", b.next(), map[string]engine.File{root + "/x": x}, nil)
			b.containers("good", "villain")
			b.await("the good one", func(e Event) bool { return e.Kind == Synced && e.Pod == "good" })
			select {
			case <-v.ended:
			case <-b.ctx.Done():
				t.Fatal("the connection is still there")
			}
			x = b.write("x", "2", 0o644)
			b.forget()
			g := b.next()
			b.m.Update("web", g, map[string]*engine.File{root + "/x": &x}, nil)
			b.await("the good one again", func(e Event) bool { return e.Kind == Synced && e.Pod == "good" && e.Generation == g })
			want(t, root+"/x", "2", 0o644)
			for _, s := range b.m.Status() {
				if s.Pod == "villain" && s.Generation == g {
					t.Error("it counts as current")
				}
			}
		})
	}
}

// welcomed is the beginning of a conversation with a run whose container holds nothing.
func welcomed(rw io.ReadWriter) (*protocol.Reader, *protocol.Writer) {
	in, out := protocol.NewReader(rw), protocol.NewWriter(rw)
	in.Receive()
	out.Send(&protocol.Welcome{Protocol: protocol.Version, Run: true, Boot: [16]byte{1}})
	out.Send(&protocol.State{Last: true})
	out.Flush()
	return in, out
}

// An agent that answers pings and nothing else is no longer waited for in silence.
func TestAgentThatNeverAcknowledges(t *testing.T) {
	b := newBench(t)
	v := &villain{Cluster: b.cluster, ended: make(chan struct{}, 1)}
	release := make(chan struct{})
	v.talk = func(rw io.ReadWriter) {
		in, out := welcomed(rw)
		var gen uint64
		for {
			m, err := in.Receive()
			if err != nil {
				return
			}
			switch m := m.(type) {
			case *protocol.Ping:
				out.Send(&protocol.Pong{N: m.N})
			case *protocol.Begin:
				gen = m.Generation
			case *protocol.End:
				<-release
				out.Send(&protocol.Ack{Generation: gen, Acted: true})
			}
			out.Flush()
		}
	}
	b.m.opts.Dial, b.m.opts.Slow = v, time.Millisecond
	g := b.next()
	b.m.SetDesired("web", g, map[string]engine.File{"/app/x": b.write("x", "1", 0o644)}, nil)
	b.containers("villain")
	b.await("the problem", func(e Event) bool { return e.Kind == Failed && e.Problem.Code == "sync-slow" && e.Generation == g })
	close(release)
	b.await("the end", func(e Event) bool { return e.Kind == Synced && e.Generation == g })
	if p := b.m.Status()[0].Problem; p != nil {
		t.Errorf("it is synced and has a problem: %v", p)
	}
}

// A stream to a container that ended may stay open. That another one was started is
// reason enough to ask, however far away the next heartbeat is.
func TestStreamToTheContainerBefore(t *testing.T) {
	b := newBench(t)
	v := &villain{Cluster: b.cluster, ended: make(chan struct{}, 1)}
	v.talk = func(rw io.ReadWriter) {
		in, out := welcomed(rw)
		for {
			m, err := in.Receive()
			if _, ended := m.(*protocol.End); err != nil || ended {
				break
			}
		}
		out.Send(&protocol.Ack{Generation: 1, Acted: true})
		out.Flush()
	}
	b.m.opts.Dial, b.m.opts.Heartbeat = v, time.Hour
	g := b.next()
	b.m.SetDesired("web", g, map[string]engine.File{"/app/x": b.write("x", "1", 0o644)}, nil)
	c := Container{Service: "web", Namespace: "ns", Pod: "villain", PodUID: "uid", Name: "web", ID: "one", HasAgent: true, Image: map[string]engine.File{}}
	b.m.SetContainers("web", []Container{c})
	b.synced(g)
	c.ID = "two"
	b.m.SetContainers("web", []Container{c})
	select {
	case <-v.ended:
	case <-b.ctx.Done():
		t.Fatal("the stream is still there")
	}
}
