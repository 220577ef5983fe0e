package source

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/kdev-io/kdev/internal/testkube"
	"github.com/kdev-io/kdev/logs/store"
)

// What a new container writes is read before its status is known, and once: the stream
// that is opened then goes on behind it.
func TestEarly(t *testing.T) {
	for _, tt := range []struct {
		name   string
		denied bool
		parts  bool // a line that the runtime cut comes in between
	}{{"read early", false, false}, {"a line in parts is left to the API", false, true}, {"not allowed", true, false}} {
		t.Run(tt.name, func(t *testing.T) {
			server, opener := fake(t)
			core, err := kubernetes.NewForConfig(server.Config())
			if err != nil {
				t.Fatal(err)
			}
			if tt.denied {
				server.Deny("get", "nodes/proxy")
			}
			pod := testkube.Pod("default", "web", "app")
			if err := server.Put(pod); err != nil {
				t.Fatal(err)
			}
			log := server.Log("default", "web", "app")
			at := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
			var want []string
			say := func(parts ...string) {
				at = at.Add(time.Microsecond)
				text := strings.Join(parts, "")
				want = append(want, text)
				e := testkube.Entry{Time: at, Text: text}
				if len(parts) > 1 {
					e.Parts = parts
				}
				log.Append(e)
			}
			st := store.New(1 << 20)
			cur := st.Cursor(true)
			src := st.AddSource(store.Source{Namespace: "default", Pod: "web", Container: "app", Node: "node-1", PodUID: string(pod.UID)})
			var got []string
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			await := func(n int) {
				t.Helper()
				for len(got) < n {
					segs, _ := cur.Next()
					for i := range segs {
						for _, l := range segs[i].Lines {
							got = append(got, string(segs[i].Text(l)))
						}
					}
					if len(segs) > 0 {
						continue
					}
					select {
					case <-cur.Changed():
					case <-ctx.Done():
						t.Fatalf("got %q, want %q", got, want)
					}
				}
			}
			r := NewReader(opener, st, src, NewGate(0), State{}, Options{Follow: true, New: true, Early: NewEarly(core)}, Hooks{})
			var running sync.WaitGroup
			running.Go(func() { _ = r.Run(ctx) })
			defer running.Wait()
			defer cancel()

			say("the first line")
			if !tt.denied {
				await(1)
			}
			for i := range 50 {
				say(fmt.Sprintf("line %d", i))
			}
			if tt.parts {
				say("half a line, ", "and the rest")
				say("behind it")
			}
			if !tt.denied && !tt.parts {
				await(51)
			}
			if n := log.Requests(); n != 0 {
				t.Errorf("the API was asked %d times", n)
			}
			r.Update(State{ID: "c-0", Running: true, Started: at})
			say("behind the news")
			await(len(want))
			say("the last line")
			await(len(want))
			if !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

func FuzzCRILines(f *testing.F) {
	for _, s := range []string{"", "2026-11-21T04:00:00.1Z stdout F a\n", "2026-11-21T04:00:00.1Z stdout P a\n2026-11-21T04:00:00.1Z stdout F b\n", "x\n", "2026-11-21T04:00:00.1Z stderr F \n2026"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		lines, used, _ := criLines(nil, data)
		if used > len(data) || used > 0 && data[used-1] != '\n' {
			t.Fatalf("%q: %d bytes used", data, used)
		}
		if n := strings.Count(string(data[:used]), "\n"); n != strings.Count(string(lines), "\n") {
			t.Fatalf("%q gives %q", data, lines)
		}
		// Read in two pieces it is the same.
		if used > 0 {
			first, n, whole := criLines(nil, data[:used])
			rest, m, _ := criLines(nil, data[n:])
			if !whole || string(first)+string(rest) != string(lines) || n+m != used {
				t.Fatalf("%q: %q and %q in two pieces", data, first, rest)
			}
		}
	})
}
