package tui

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/kdev-io/kdev/internal/session"
)

// files are the parsed files of this package and of those below it, without tests.
func files(t *testing.T) map[string]*ast.File {
	t.Helper()
	out := map[string]*ast.File{}
	err := filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		if strings.HasPrefix(path, "bench") || strings.HasPrefix(path, "picture") {
			return nil // programs of their own
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		out[filepath.ToSlash(path)] = f
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestNoLogLineIsAMessage: the messages of this package are few, none of them
// can hold lines, and whatever is sent from outside the event loop is one of two.
func TestNoLogLineIsAMessage(t *testing.T) {
	known := map[string]bool{"StateMsg": true, "movedMsg": true, "tickMsg": true, "fadeMsg": true, "doneMsg": true, "diffMsg": true, "pageMsg": true, "branchesMsg": true}
	for name, f := range files(t) {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				if strings.HasSuffix(n.Name.Name, "Msg") && !known[n.Name.Name] {
					t.Errorf("%s: %s is a message that this test does not know", name, n.Name.Name)
				}
				body, ok := n.Type.(*ast.StructType)
				if ok && slices.Contains([]string{"movedMsg", "tickMsg", "fadeMsg"}, n.Name.Name) && body.Fields.NumFields() > 0 {
					t.Errorf("%s: %s carries something", name, n.Name.Name)
				}
			case *ast.CallExpr:
				sel, ok := n.Fun.(*ast.SelectorExpr)
				if !ok || sel.Sel.Name != "Send" {
					return true
				}
				lit, ok := n.Args[0].(*ast.CompositeLit)
				if !ok {
					t.Errorf("%s: something is sent that is not a message written out", name)
					return true
				}
				if id, ok := lit.Type.(*ast.Ident); !ok || id.Name != "movedMsg" && id.Name != "StateMsg" {
					t.Errorf("%s: sends %v", name, lit.Type)
				}
			}
			return true
		})
	}
}

// TestMessagesDoNotGrowWithLines writes ten thousand lines in a second: at most
// thirty messages say so, and none comes while the last one was not taken.
func TestMessagesDoNotGrowWithLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		w := newWorker(d.store)
		ctx, cancel := context.WithCancel(t.Context())
		var sent atomic.Int64
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			w.run(ctx, func() {
				sent.Add(1)
				w.taken()
			})
		}()
		for i := range 1000 {
			for j := range 10 {
				d.line(fmt.Sprint("pod-", j), fmt.Sprint("line ", i))
			}
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if n := sent.Load(); n < 10 || n > 31 {
			t.Errorf("%d messages in a second, want at most 31", n)
		}
		// Nothing moves any more: nothing is sent, for however long.
		time.Sleep(time.Second)
		synctest.Wait()
		quiet := sent.Load()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := sent.Load() - quiet; n != 0 {
			t.Errorf("%d messages in an hour in which nothing happened", n)
		}
		cancel()
		<-ended
	})
}

// TestAMessageThatIsNotTakenIsTheOnlyOne: a screen that hangs is not flooded.
func TestAMessageThatIsNotTakenIsTheOnlyOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		w := newWorker(d.store)
		ctx, cancel := context.WithCancel(t.Context())
		var sent atomic.Int64
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			w.run(ctx, func() { sent.Add(1) })
		}()
		for i := range 1000 {
			d.line("web", fmt.Sprint("line ", i))
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		if n := sent.Load(); n != 1 {
			t.Errorf("%d messages, none of which was taken; want 1", n)
		}
		cancel()
		<-ended
	})
}

// TestUpdateDoesNoIO: the package cannot reach files, the network or other
// processes; it starts goroutines where Run owns them alone; and what reaches
// out for it is called by commands only, never while Update or View is at work.
func TestUpdateDoesNoIO(t *testing.T) {
	for name, f := range files(t) {
		for _, imp := range f.Imports {
			path, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			for _, bad := range []string{"os", "os/exec", "io/fs", "io/ioutil", "net", "net/http", "syscall", "golang.org/x/sys", "k8s.io/client-go"} {
				if path == bad || strings.HasPrefix(path, bad+"/") {
					t.Errorf("%s imports %s", name, path)
				}
			}
			if path == "io" && name != "run.go" {
				t.Errorf("%s imports io", name)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s starts a goroutine that nobody owns", name)
			case *ast.CallExpr:
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
					t.Errorf("%s sleeps", name)
				}
			}
			return true
		})
	}
	for _, b := range bindings() {
		t.Run(b.name, func(t *testing.T) {
			busy := false // Update or View is at work
			guard := func(what string) {
				if busy {
					t.Errorf("%s is called from Update or View", what)
				}
			}
			d := newDesk()
			d.write()
			m := New(Options{State: asleep(), Store: d.store, Now: now, Control: guardedControl(func() { guard("Control.Do") }), Host: Host{
				Open:     func(string) error { guard("Host.Open"); return nil },
				Shell:    func(string, string) tea.ExecCommand { return noShell{} },
				Save:     func([]byte) (string, error) { guard("Host.Save"); return "", nil },
				Mark:     func(string) { guard("Host.Mark") },
				Look:     func(context.Context, string) (string, error) { guard("Host.Look"); return "", nil },
				Branches: func(context.Context) ([]Branch, error) { guard("Host.Branches"); return []Branch{{Name: "main"}}, nil },
				Join:     func(Branch) tea.ExecCommand { return noShell{} },
			}})
			m.ticking, m.fading = true, true
			m.worker.settle()
			lead := before[b.name]
			if b.in == inLogs {
				lead = append([]string{"1"}, lead...)
			}
			for _, name := range lead {
				drive(m, keys(name)...)
			}
			if !b.possible(m) {
				t.Fatal("it is not possible here")
			}
			busy = true
			cmd := b.run(m)
			m.View()
			for m.overlay != nil { // prompts and questions
				_, more := m.Update(press("y"))
				cmd = tea.Batch(cmd, more)
				_, more = m.Update(press("enter"))
				cmd = tea.Batch(cmd, more)
				m.View()
				if m.overlay != nil {
					_, more = m.Update(press("esc"))
					cmd = tea.Batch(cmd, more)
				}
			}
			busy = false
			if b.name != "suspend" && b.name != "quit" {
				run(m, cmd)
			}
		})
	}
}

type guardedControl func()

func (g guardedControl) Do(context.Context, session.Command) (string, error) {
	g()
	return "begun", nil
}

// TestNothingMovesWhileNothingHappens: without news there is no View, no message
// and no byte for the terminal, for an hour.
func TestNothingMovesWhileNothingHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.write()
		ctx, cancel := context.WithCancel(t.Context())
		counter := &counted{}
		in, typed := io.Pipe()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = Run(ctx, &desktop{state: calm(), changed: make(chan struct{}, 1)},
				Options{Store: d.store, Now: now, Around: func(m tea.Model) tea.Model { return watched{m, counter} }},
				Terminal{In: in, Out: counter, Env: []string{"TERM=xterm-256color"}}, tea.WithWindowSize(120, 40))
		}()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		views, bytes := counter.views.Load(), counter.bytes.Load()
		if views == 0 || bytes == 0 {
			t.Fatal("it drew nothing at all")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := counter.views.Load() - views; n != 0 {
			t.Errorf("%d frames were made while nothing happened", n)
		}
		if n := counter.bytes.Load() - bytes; n != 0 {
			t.Errorf("%d bytes were written while nothing happened", n)
		}
		cancel()
		typed.Close()
		<-ended
	})
}

// counted counts frames and bytes.
type counted struct{ views, bytes atomic.Int64 }

func (c *counted) Write(p []byte) (int, error) {
	c.bytes.Add(int64(len(bytes.TrimSpace(p))))
	return len(p), nil
}

// watched is a Model whose frames are counted.
type watched struct {
	tea.Model
	counted *counted
}

func (w watched) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	_, cmd := w.Model.Update(msg)
	return w, cmd
}

func (w watched) View() tea.View {
	w.counted.views.Add(1)
	return w.Model.View()
}
