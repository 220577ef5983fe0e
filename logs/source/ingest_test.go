package source

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kdev-io/kdev/internal/testkube"
	"github.com/kdev-io/kdev/logs/store"
)

// pieces hands data out in pieces whose sizes a seed decides.
type pieces struct {
	data []byte
	seed uint32
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	p.seed = p.seed*1664525 + 1013904223
	n := min(len(p.data), len(b), 1+int(p.seed>>16)%97)
	copy(b, p.data[:n])
	p.data = p.data[n:]
	return n, nil
}

// ingestAll passes a stream through an ingest and returns what the store then holds.
func ingestAll(t *testing.T, r io.Reader, stamped bool) (texts []string, lines []store.Line) {
	t.Helper()
	st := store.New(64 << 20)
	cur := st.Cursor(true)
	in := ingest{app: st.Appender(st.AddSource(store.Source{})), stamped: stamped}
	if err := in.read(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	if err := in.end(context.Background()); err != nil {
		t.Fatal(err)
	}
	in.app.Close()
	for {
		segs, _ := cur.Next()
		if len(segs) == 0 {
			return texts, lines
		}
		for i := range segs {
			for _, l := range segs[i].Lines {
				texts = append(texts, string(segs[i].Text(l)))
				lines = append(lines, l)
			}
		}
	}
}

// FuzzSplit: however a stream is cut into reads, its lines are those between its
// newlines; and with times before them, a line is one whose time can be read, or text
// of the kubelet.
func FuzzSplit(f *testing.F) {
	const at = "2026-11-21T03:49:17.123456789Z "
	for _, s := range []string{"", "\n", "a", "a\nb", "a\r\n\nb\n", at + "a\n" + at + "\n" + at + "b", "no time\n" + at + "x\n", "2026-11-21T03:49:17Z\n", "2026-13-41T03:49:17.1Z x\n", "\xff\xfe\n", textNoInotify + ": too many open files\n"} {
		f.Add([]byte(s), uint32(1))
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint32) {
		want := strings.Split(string(data), "\n")
		if last := len(want) - 1; want[last] == "" {
			want = want[:last]
		}
		got, _ := ingestAll(t, &pieces{data, seed}, false)
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Fatalf("lines of %q are %q", data, got)
		}
		whole, lines := ingestAll(t, bytes.NewReader(data), true)
		cut, again := ingestAll(t, &pieces{data, seed}, true)
		if fmt.Sprintf("%q %v", whole, stamps(lines)) != fmt.Sprintf("%q %v", cut, stamps(again)) {
			t.Fatalf("%q is %q in one read and %q in pieces", data, whole, cut)
		}
		for i, l := range lines {
			if l.Flags&store.NoStamp == 0 && strings.Contains(whole[i], "\n") {
				t.Fatalf("%q has the line %q", data, whole[i])
			}
		}
	})
}

// stamps are what lines say beside their place.
func stamps(lines []store.Line) []string {
	var out []string
	for _, l := range lines {
		out = append(out, fmt.Sprint(l.Time, l.Len, l.Flags))
	}
	return out
}

// FuzzStamp: a time is read as the library reads it, or not at all.
func FuzzStamp(f *testing.F) {
	for _, s := range []string{"2026-11-21T03:49:17.123456789Z x", "2026-11-21T03:49:17Z", "2026-11-21T03:49:17.1+07:00 x", "2026-11-21T03:49:60Z x", "0000-00-00T00:00:00Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		var s stamper
		ns, n, ok := s.parse([]byte(line))
		if !ok {
			return
		}
		text, _, _ := strings.Cut(line, " ")
		if n != len(text) {
			t.Fatalf("the time of %q has %d bytes", line, n)
		}
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatalf("%q is no time: %v", text, err)
		}
		if year := at.Year(); year > 1700 && year < 2200 && at.UnixNano() != ns {
			t.Fatalf("%q is %d, read as %d", text, at.UnixNano(), ns)
		}
	})
}

// A kubelet without inotify instances sends its trouble as if it were a line of the log,
// then ends the stream. It is told once for each source, explained, and never shown; the log
// is read all the same, without following.
func TestNoInotifyInstances(t *testing.T) {
	server, opener := fake(t)
	if err := server.Put(testkube.Pod("default", "web", "app")); err != nil {
		t.Fatal(err)
	}
	log := server.Log("default", "web", "app")
	at := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	log.Print(at, "line 0")
	log.Faults(func(int) testkube.Fault {
		return testkube.Fault{NoFollow: true, Text: "failed to create fsnotify watcher: too many open files"}
	})
	st := store.New(1 << 20)
	cur := st.Cursor(true)
	src := st.AddSource(store.Source{Namespace: "default", Pod: "web", Container: "app", Node: "node-1"})
	explained := make(chan string, 100)
	r := NewReader(opener, st, src, NewGate(0), State{ID: "c-0", Running: true}, Options{Follow: true}, Hooks{Notice: func(n Notice) {
		if n.Kind == Explained {
			select {
			case explained <- n.Text:
			default:
			}
		}
	}})
	r.longest = 10 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) })
	defer running.Wait()
	defer cancel()
	var got []string
	for n := 1; len(got) < 5; n++ {
		for want := n; len(got) < want; {
			segs, _ := cur.Next()
			for i := range segs {
				for _, l := range segs[i].Lines {
					got = append(got, string(segs[i].Text(l)))
				}
			}
			if len(segs) == 0 {
				select {
				case <-cur.Changed():
				case <-ctx.Done():
					t.Fatalf("got %q", got)
				}
			}
		}
		log.Print(at.Add(time.Duration(n)*time.Second), fmt.Sprintf("line %d", n))
	}
	for i, line := range got {
		if line != fmt.Sprintf("line %d", i) {
			t.Errorf("line %d is %q", i, line)
		}
	}
	if text := <-explained; !strings.Contains(text, "node-1 has no inotify instances left") || !strings.Contains(text, "fs.inotify.max_user_instances") {
		t.Errorf("explained as %q", text)
	}
}
