package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/logs/store"
)

// TestMain shows times as UTC, so that frames are the same everywhere.
func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

var began = time.Date(2026, 1, 2, 9, 30, 0, 0, time.UTC)

// now is when the frames are drawn: a minute and a half after the start.
func now() time.Time { return began.Add(90 * time.Second) }

func ms(n int) session.Millis { return session.Millis(time.Duration(n) * time.Millisecond) }

// stages is a pod's start of which so many steps are done.
func stages(done int, took ...int) []session.PodStage {
	out := make([]session.PodStage, 0, 4)
	for i, name := range []string{"scheduled", "pulled", "started", "ready"} {
		s := session.PodStage{Name: name, Done: i < done}
		if i < len(took) {
			s.Took = ms(took[i])
		}
		out = append(out, s)
	}
	return out
}

func pod(name, status string, ready bool, st []session.PodStage) session.Pod {
	return session.Pod{Name: name, Node: "kdev-control-plane", IP: "10.244.0.7", Status: status, Ready: ready, Stages: st, Age: ms(64_000),
		Containers: []session.Container{{Name: "app", Image: "localhost:5001/shop/app", State: "running", Ready: ready, CPU: 7, Memory: 45 << 20, CPULimit: 100, MemoryLimit: 128 << 20}}}
}

// change is one that was saved so long before now.
func change(before time.Duration, action session.Action, outcome session.Outcome, path string, legs ...int) session.Change {
	at := now().Add(-before)
	c := session.Change{Number: 1, Action: action, Outcome: outcome, Paths: []string{path}, Saved: at}
	for i, to := range []*time.Time{&c.Batched, &c.Made, &c.Acknowledged, &c.Serving} {
		if i < len(legs) {
			at = at.Add(time.Duration(legs[i]) * time.Millisecond)
			*to = at
		}
	}
	return c
}

const digest = "localhost:5001/shop/%s:dev@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

// day is a state with one of everything: ready, failed, building, rolling out,
// paused, of the manifests, on this machine.
func day() *session.State {
	last := change(3*time.Second, session.ActSync, session.Served, "web/static/index.html", 3, 5, 2, 1)
	var history []session.Change
	for i, took := range []int{14, 12, 31, 11, 18, 55, 12, 13, 11} {
		history = append(history, change(time.Duration(60-i)*time.Second, session.ActSync, session.Served, "web/static/index.html", 3, took, 2, 1))
	}
	history = append(history, last)
	crash := &problem.Problem{Code: "crash", Where: "Deployment/api", Summary: "container api exits with 1, for the 3rd time",
		Output: "Traceback (most recent call last):\n  File \"/app/main.py\", line 7, in <module>\n    port = os.environ[\"PORT\"]\nKeyError: 'PORT'\n",
		Hint:   "set PORT in deploy/api.yaml, or give it a default in api/main.py"}
	return &session.State{
		Project: "shop", Namespace: "shop", Context: "kind-kdev", Started: began, Session: true, Deployed: true,
		Tasks: []session.Task{{Name: "migrate", Service: "api", Command: "python migrate.py"}, {Name: "seed", Service: "postgres", Command: "psql -f seed.sql", Running: true}},
		Services: []session.Service{
			{Name: "web", Kind: session.Built, Phase: session.Ready, Image: fmt.Sprintf(digest, "web"), Desired: 2, Updated: 2, Current: 2,
				Pods:  []session.Pod{pod("web-7d9f6b5c4-x2k9p", "Running", true, stages(4, 40, 310, 420, 800)), pod("web-7d9f6b5c4-m8w2q", "Running", true, stages(4, 40, 290, 450, 900))},
				Ports: []session.Port{{Host: "localhost", Local: 8080, Remote: 80, URL: "http://localhost:8080"}}, URLs: []string{"http://web.shop.localhost:8080"},
				Change: &last, History: history,
				Workloads: []session.Rollout{{Kind: "Deployment", Name: "web", Ready: true, Desired: 2, Updated: 2, Current: 2}},
				Sync: []session.Sync{
					{Pod: "web-7d9f6b5c4-x2k9p", Container: "app", Connected: true, Generation: 12, Wanted: 12, Lag: ms(2), Files: 1, Bytes: 1420, AllFiles: 31, AllBytes: 48_200, Paths: []string{"web/static/index.html"}},
					{Pod: "web-7d9f6b5c4-m8w2q", Container: "app", Connected: true, Generation: 11, Wanted: 12, Lag: ms(4), Files: 1, Bytes: 1420, AllFiles: 30, AllBytes: 46_780},
				},
				Build: &session.Build{Number: 1, Phase: session.BuildDone, Why: "no image yet", Took: ms(8400), Rung: "assembled in Go: only COPY after the last RUN",
					Steps: []session.Step{{Name: "FROM python:3.12-slim", Cached: true}, {Name: "RUN pip install -r requirements.txt", Took: ms(7900), Bytes: 12 << 20}, {Name: "COPY . /app", Took: ms(80), Bytes: 48_200}}}},
			{Name: "api", Kind: session.Built, Phase: session.FailedPhase, Image: fmt.Sprintf(digest, "api"), Desired: 1, Updated: 1, Restarts: 3,
				Pods:        []session.Pod{pod("api-5c7d8f9b6-qq7zt", "CrashLoopBackOff", false, stages(3, 30, 200, 300, 61_000))},
				Problem:     crash,
				Explanation: "Deployment/api 5c7d8f9b6: 0/1 ready, failing for 1m01s\n  " + crash.Error() + " [crash]\n  │ Traceback (most recent call last):\n  │   File \"/app/main.py\", line 7, in <module>\n  │     port = os.environ[\"PORT\"]\n  │ KeyError: 'PORT'\n  → " + crash.Hint + "\nStatefulSet/api-cache: 0/1 ready, failing for 12s\n  Pod/api-cache-0: image registry.example.com/cache:1 cannot be pulled [image-not-found]\n  │ Back-off pulling image \"registry.example.com/cache:1\": failed to resolve reference: not found: it was looked for in the registry three times, and each time this was the answer of it\n"},
			{Name: "worker", Kind: session.Built, Phase: session.Building, Desired: 1, Current: 1, Updated: 1,
				Pods:    []session.Pod{pod("worker-6f5d4c3b2-aa1bb", "Running", true, stages(4, 30, 100, 200, 400))},
				Waiting: &session.Waiting{Reason: session.ForBuild, Text: "its image"},
				Build: &session.Build{Number: 2, Phase: session.BuildRunning, Why: "package.json changed", Step: "RUN npm ci", Started: now().Add(-4200 * time.Millisecond),
					Steps: []session.Step{{Name: "FROM node:22", Cached: true}, {Name: "COPY package.json ./", Took: ms(12), Bytes: 1420}}, Lines: []string{"added 212 packages in 3s", "npm warn deprecated inflight@1.0.6"}}},
			{Name: "cart", Kind: session.Built, Phase: session.Progressing, Image: fmt.Sprintf(digest, "cart"), Desired: 2, Updated: 1, Current: 1, Old: 1,
				Waiting: &session.Waiting{Reason: session.ForRollout, Text: "1 of 2 new pods to be ready"},
				Pods: []session.Pod{func() session.Pod {
					p := pod("cart-84c9d7f6b5-7h2kd", "Running", true, stages(4, 30, 100, 200, 400))
					p.Old = true
					return p
				}(), pod("cart-6b8f9d7c5-p4v6s", "Running", true, stages(4, 30, 700, 260, 900)), pod("cart-6b8f9d7c5-k9x3w", "ContainerCreating", false, stages(1, 30, 1400))},
				Workloads: []session.Rollout{{Kind: "Deployment", Name: "cart", Desired: 2, Updated: 1, Current: 1, Old: 1, Waiting: "1 of 2 new pods to be ready"}},
				Events: []session.ClusterEvent{
					{Time: began.Add(80 * time.Second), Object: "Deployment/cart", Reason: "ScalingReplicaSet", Text: "Scaled up replica set cart-6b8f9d7c5 from 1 to 2"},
					{Time: began.Add(81 * time.Second), Object: "Pod/cart-6b8f9d7c5-k9x3w", Reason: "Scheduled", Text: "Successfully assigned shop/cart-6b8f9d7c5-k9x3w to kdev-control-plane"},
					{Time: began.Add(88 * time.Second), Object: "Pod/cart-6b8f9d7c5-k9x3w", Warning: true, Reason: "FailedMount", Text: "MountVolume.SetUp failed for volume \"settings\" : configmap \"cart\" not found", Times: 3},
				}},
			{Name: "mail", Kind: session.Built, Phase: session.Paused, Image: fmt.Sprintf(digest, "mail"), Desired: 1, Updated: 1, Current: 1, Paused: true, Held: []string{"mail/send.go", "mail/queue.go"}},
			{Name: "postgres", Kind: session.Workload, Phase: session.Ready, Image: "postgres:15", Desired: 1, Updated: 1, Current: 1,
				Pods: []session.Pod{func() session.Pod {
					p := pod("postgres-0", "Running", true, stages(4, 100, 2000, 300, 1200))
					p.Containers[0].CPU, p.Containers[0].CPULimit, p.Containers[0].Memory = 1250, 0, 121<<20
					return p
				}()}},
			{Name: "assets", Kind: session.Process, Phase: session.Ready, Local: &session.LocalWork{Command: "npm run watch", PID: 4711}},
		},
	}
}

// included is a session with another project in it.
func included() *session.State {
	st := calm()
	for i, svc := range st.Services[:2] {
		st.Services = append(st.Services, svc)
		of := &st.Services[len(st.Services)-1]
		of.Name, of.Project, of.Namespace = fmt.Sprint("billing/", svc.Name), "billing", "billing"
		if i == 0 {
			of.Phase, of.Waiting = session.Pending, &session.Waiting{Reason: session.ForNeeds, On: []string{"billing/db"}, Text: "billing/db, which it needs"}
		}
	}
	st.Ready = false
	return st
}

// starting is the first seconds of an `up`.
func starting() *session.State {
	st := day()
	for i := range st.Services {
		s := &st.Services[i]
		s.Phase, s.Pods, s.Current, s.Updated, s.Old, s.Change, s.History, s.Problem, s.Sync, s.Workloads = session.Pending, nil, 0, 0, 0, nil, nil, nil, nil, nil
		s.URLs, s.Explanation, s.Restarts, s.Paused, s.Held = nil, "", 0, false, nil
		s.Waiting = &session.Waiting{Reason: session.ForImage, Text: "its image"}
	}
	return st
}

// workshop is a state with work on this machine: a program that stands in for a
// service, a server that starts, a generator that failed.
func workshop() *session.State {
	st := calm()
	code := 1
	api := st.Services[0]
	api.Name, api.Desired, api.Updated, api.Current, api.Change, api.History, api.Sync, api.URLs = "api", 1, 1, 1, nil, nil, nil, []string{"http://api.shop.localhost:8080"}
	api.Pods = []session.Pod{pod("api-5c7d8f9b6-qq7zt", "Running", true, stages(4, 30, 200, 300, 600))}
	api.Local = &session.LocalWork{Role: session.InPlace, Command: "npm run dev", Runs: 2, PID: 4711, Since: now().Add(-40 * time.Second), Lines: []string{"listening on 3000"}}
	st.Services = []session.Service{api, st.Services[1],
		{Name: "storybook", Kind: session.Process, Phase: session.Progressing, Pods: []session.Pod{}, Restarts: 1,
			Waiting: &session.Waiting{Reason: session.ForProcess, Text: "http://localhost:6006 to answer"}, URLs: []string{"http://localhost:6006"},
			Local: &session.LocalWork{Role: session.Server, Command: "npm run storybook", Runs: 2, Restarts: 1, PID: 4712, Since: now().Add(-3 * time.Second), Exit: &code, Lines: []string{"webpack building..."}}},
		{Name: "proto", Kind: session.Process, Phase: session.FailedPhase, Pods: []session.Pod{}, Stuck: true,
			Problem: &problem.Problem{Code: "generator-failed", Where: "kdev.yaml:9", Summary: "`buf generate` ended with exit code 1",
				Output: "proto/cart.proto:7:3: unknown type Mony", Hint: "the next save of what it reads runs it again, and so does `kdev trigger proto`"},
			Local: &session.LocalWork{Role: session.Generator, Command: "buf generate", Runs: 3, Exit: &code, Lines: []string{"proto/cart.proto:7:3: unknown type Mony"}}},
	}
	st.Ready = false
	return st
}

// calm is when everything is ready.
func calm() *session.State {
	st := day()
	st.Services = []session.Service{st.Services[0], st.Services[5]}
	st.Ready = true
	return st
}

// broken is a project whose manifests do not render.
func broken() *session.State {
	st := calm()
	st.Ready = false
	st.Problems = []*problem.Problem{{Code: "render-failed", Where: "deploy/kustomization.yaml:3", Summary: "no such file: api.yml", Hint: "did you mean api.yaml?"}}
	return st
}

// crowd is a project of n services with three pods each.
func crowd(n int) *session.State {
	st := calm()
	one := st.Services[0]
	st.Services = nil
	for i := range n {
		s := one
		s.Name = fmt.Sprintf("service-%03d", i)
		s.Pods = nil
		for j := range 3 {
			s.Pods = append(s.Pods, pod(fmt.Sprintf("%s-7d9f6b5c4-%05d", s.Name, j), "Running", true, stages(4, 40, 310, 420, 800)))
		}
		st.Services = append(st.Services, s)
	}
	return st
}

// A desk is a store that a test writes to.
type desk struct {
	store *store.Store
	mu    sync.Mutex
	apps  map[string]*store.Appender
}

func newDesk() *desk { return &desk{store: store.New(64 << 20), apps: map[string]*store.Appender{}} }

// line adds one line of a pod, or of kdev itself for a name with a slash.
func (d *desk) line(from, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	app := d.apps[from]
	if app == nil {
		src := store.Source{Pod: from, Container: "app", Color: len(d.apps), ContainerColor: len(d.apps)}
		if strings.Contains(from, "/") {
			src = store.Source{Kind: store.Local, Name: from, Color: len(d.apps)}
		}
		app = d.store.Appender(d.store.AddSource(src))
		d.apps[from] = app
	}
	n := copy(app.Free(len(text)+1), text)
	app.Grow(n)
	app.Add(store.Line{Time: began.Add(time.Duration(d.store.Stats().Next) * 137 * time.Millisecond).UnixNano()}, 0, n)
	app.Consume(n)
	app.CommitNow()
}

// write fills the store with a small day of logs.
func (d *desk) write() {
	d.line("kdev/", "9 objects applied")
	for i := range 24 {
		d.line("web-7d9f6b5c4-x2k9p", fmt.Sprintf(`{"level":"info","msg":"request","path":"/item/%d","status":200,"ms":%d}`, i, 3+i%7))
		if i%3 == 0 {
			d.line("web-7d9f6b5c4-m8w2q", fmt.Sprintf("GET /cart/%d 200 a line that is longer than a narrow screen, so that wrapping and cutting are to be seen at its end", i))
		}
		if i%8 == 5 {
			d.line("api-5c7d8f9b6-qq7zt", "INFO starting")
			d.line("api-5c7d8f9b6-qq7zt", "Traceback (most recent call last):")
			d.line("api-5c7d8f9b6-qq7zt", `  File "/app/main.py", line 7, in <module>`)
			d.line("api-5c7d8f9b6-qq7zt", "KeyError: 'PORT'")
		}
	}
	d.line("build/worker", "added 212 packages in 3s")
	d.line("build/worker", "npm warn deprecated inflight@1.0.6")
	d.line("kdev/web", "synced web/static/index.html")
	d.line("postgres-0", "\x1b[33mWARNING\x1b[0m:  checkpoints are occurring too frequently")
}

// A clerk writes down what a session is asked for.
type clerk struct{ asked []session.Command }

func (c *clerk) Do(_ context.Context, cmd session.Command) (string, error) {
	if cmd.Verb == session.DoDiff {
		return "~ Deployment/web  deploy/web.yaml:1\n    spec.template.spec.containers[app].image\n      - shop/web@sha256:1111\n      + shop/web@sha256:9f86\n", nil
	}
	c.asked = append(c.asked, cmd)
	if cmd.Verb == session.DoBuild {
		return "", errors.New("there is nothing to build")
	}
	return string(cmd.Verb) + " of " + cmd.Service + " has begun", nil
}

// hostOf does nothing to the machine.
func hostOf(d *desk) Host {
	return Host{
		Open:  func(string) error { return nil },
		Shell: func(string, string) tea.ExecCommand { return noShell{} },
		Save:  func([]byte) (string, error) { return "kdev-shop.log", nil },
		Mark:  func(text string) { d.line("kdev/", text) },

		Branches: func(context.Context) ([]Branch, error) {
			return []Branch{{"feature/cart", "/src/cart/shop", "kind-kdev", "shop-cart"}, {"main", "/src/shop", "kind-kdev", "shop-main"}}, nil
		},
		Join: func(Branch) tea.ExecCommand { return noShell{} },

		Environments: []string{"dev", "staging"},
		Look: func(_ context.Context, name string) (string, error) {
			if name != "staging" {
				return "", errors.New("there is no environment " + name)
			}
			return "shop, environment staging: context eu-west, namespace shop-staging\nSERVICE   STATE   READY   IMAGE\nweb       ready   3/3     9f86d081884c\n", nil
		},
	}
}

// noShell ends at once.
type noShell struct{}

func (noShell) Run() error          { return nil }
func (noShell) SetStdin(io.Reader)  {}
func (noShell) SetStdout(io.Writer) {}
func (noShell) SetStderr(io.Writer) {}

// open makes a dashboard of a size, with everything that it can do.
func open(st *session.State, d *desk, width, height int) (*Model, *clerk) {
	c := &clerk{}
	m := New(Options{State: st, Store: d.store, Now: now, Control: c, Host: hostOf(d)})
	m.ticking, m.fading = true, true // time stands still
	m.worker.settle()
	drive(m, tea.WindowSizeMsg{Width: width, Height: height})
	return m, c
}

// drive hands messages over, and what the commands that follow from them say,
// but for those that only the terminal sees.
func drive(m *Model, msgs ...tea.Msg) {
	for _, msg := range msgs {
		_, cmd := m.Update(msg)
		m.worker.settle()
		m.View() // as after each message in a program
		run(m, cmd)
	}
}

// run runs a command and what comes of it. What only the terminal sees is left
// out.
func run(m *Model, cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case tea.BatchMsg:
		for _, c := range msg {
			run(m, c)
		}
	case doneMsg, diffMsg, pageMsg, branchesMsg:
		drive(m, msg)
	}
}

// keys are presses as a person writes them: "down", "ctrl+r", "a", or a text in
// quotes, letter by letter.
func keys(names ...string) []tea.Msg {
	var out []tea.Msg
	for _, n := range names {
		if text, ok := strings.CutPrefix(n, "type:"); ok {
			for _, r := range text {
				out = append(out, tea.KeyPressMsg{Code: r, Text: string(r)})
			}
			continue
		}
		out = append(out, press(n))
	}
	return out
}

func press(name string) tea.KeyPressMsg {
	special := map[string]rune{"up": tea.KeyUp, "down": tea.KeyDown, "left": tea.KeyLeft, "right": tea.KeyRight, "pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown,
		"home": tea.KeyHome, "end": tea.KeyEnd, "enter": tea.KeyEnter, "esc": tea.KeyEscape, "tab": tea.KeyTab, "backspace": tea.KeyBackspace, "delete": tea.KeyDelete}
	if name == "space" {
		return tea.KeyPressMsg{Code: tea.KeySpace, Text: " "}
	}
	if c, ok := special[name]; ok {
		return tea.KeyPressMsg{Code: c}
	}
	if rest, ok := strings.CutPrefix(name, "ctrl+"); ok {
		return tea.KeyPressMsg{Code: []rune(rest)[0], Mod: tea.ModCtrl}
	}
	r := []rune(name)[0]
	return tea.KeyPressMsg{Code: r, Text: name}
}
