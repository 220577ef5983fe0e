package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
)

// A Remote is a session in another process. It is a session.Control.
type Remote struct {
	About  About
	client *http.Client
	state  atomic.Pointer[session.State]
	cancel context.CancelFunc
	work   sync.WaitGroup
	ended  chan struct{}

	mu   sync.Mutex
	subs map[chan struct{}]struct{}
}

// answers says whether somebody listens on the socket.
func answers(path string) bool {
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// Dial connects to a session and returns when it has its first State. From then
// on the State follows that of the session, until Close or until the session
// ends.
//
// Problems: session-gone.
func Dial(ctx context.Context, getenv func(string) string, a About) (*Remote, error) {
	r := New(getenv, a)
	follow, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.cancel = cancel
	states := make(chan *session.State)
	var refused error // read when states is closed
	r.work.Go(func() {
		defer close(states)
		defer close(r.ended)
		refused = each(follow, r, "state", url.Values{"follow": {"true"}}, func(st *session.State) {
			first := r.come(st)
			r.signal()
			if first {
				select {
				case states <- st:
				case <-follow.Done():
				}
			}
		})
	})
	r.work.Go(func() { r.watch(follow) })
	select {
	case st := <-states:
		if st == nil {
			r.Close()
			return nil, r.gone(refused)
		}
		return r, nil
	case <-ctx.Done():
		r.Close()
		return nil, ctx.Err()
	}
}

// come takes a State of the session, and says whether it is the first.
func (r *Remote) come(st *session.State) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.Swap(st) == nil
}

// lookAgain is how often a session that is shown is asked whether it is suspended: it
// cannot say so itself.
const lookAgain = 3 * time.Second

// watch puts into the State that the session is suspended, until it goes on.
func (r *Remote) watch(ctx context.Context) {
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	var was, shown *session.State // before it was suspended, and since
	for {
		select {
		case <-again.C:
		case <-r.ended:
			return
		case <-ctx.Done():
			return
		}
		still := stopped(r.About.PID)
		r.mu.Lock()
		now := r.state.Load()
		switch {
		case now == nil || still == (now == shown): // as it is shown already
			r.mu.Unlock()
			continue
		case still:
			was = now
			st := *now
			st.Ready, st.Problems = false, append(slices.Clip(slices.Clone(now.Problems)), r.About.suspended())
			shown = &st
			r.state.Store(shown)
		default:
			r.state.Store(was) // what is new comes by itself
			shown = nil
		}
		r.mu.Unlock()
		r.signal()
	}
}

// Suspended is the problem of a session that Ctrl-Z has stopped; nil is that it may answer.
//
// Problems: session-suspended.
func (a About) Suspended() error {
	if stopped(a.PID) {
		return a.suspended()
	}
	return nil
}

func (a About) suspended() *problem.Problem {
	return &problem.Problem{Code: "session-suspended", Where: a.Root, Summary: fmt.Sprintf("the session, process %d, is suspended and answers nobody", a.PID),
		Hint: fmt.Sprintf("`fg` in its terminal lets it go on, and so does `kill -CONT %d`", a.PID)}
}

// New is a Remote for single requests: State is nil, and Close has nothing to do.
func New(getenv func(string) string, a About) *Remote {
	path := a.Socket(Dir(getenv))
	r := &Remote{About: a, ended: make(chan struct{}), subs: map[chan struct{}]struct{}{}}
	r.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", path)
		if err != nil {
			return nil, err
		}
		if err := ofThisUser(conn); err != nil {
			conn.Close()
			return nil, err
		}
		return conn, nil
	}}}
	return r
}

// request sends a request, unless nobody would answer it.
func (r *Remote) request(req *http.Request) (*http.Response, error) {
	if err := r.About.Suspended(); err != nil {
		return nil, err
	}
	return r.client.Do(req)
}

// Close ends the connection; the session goes on.
func (r *Remote) Close() {
	if r.cancel != nil {
		r.cancel()
	}
	r.work.Wait()
	r.client.CloseIdleConnections()
}

// Ended is closed when the session has ended, or Close was called.
func (r *Remote) Ended() <-chan struct{} { return r.ended }

// State is the newest snapshot.
func (r *Remote) State() *session.State { return r.state.Load() }

// Subscribe gives a signal that the State changed, coalesced, and the function
// that ends it.
func (r *Remote) Subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.subs[ch] = struct{}{}
	return ch, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.subs, ch)
	}
}

func (r *Remote) signal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ch := range r.subs {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// Do hands a command to the session.
func (r *Remote) Do(ctx context.Context, c session.Command) (string, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://kdev/v1/do", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := r.request(req)
	if err != nil {
		return "", r.gone(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", &problem.Problem{Code: "session-other", Where: r.About.Root, Summary: "the session does not understand this command",
			Output: answer(resp.Body), Hint: "it runs another version of kdev: start it anew"}
	}
	var out result
	frame, err := readFrame(bufio.NewReader(resp.Body), longestFrame)
	if err == nil {
		err = json.Unmarshal(frame, &out)
	}
	if err != nil {
		return "", r.gone(err)
	}
	if out.Problem != nil {
		return "", out.Problem
	}
	return out.Text, nil
}

// Once asks for the State as it is now.
func (r *Remote) Once(ctx context.Context) (*session.State, error) {
	var got *session.State
	err := each(ctx, r, "state", nil, func(st *session.State) { got = st })
	if err == nil && got == nil {
		err = r.gone(nil)
	}
	return got, err
}

// Events hands over what happened so far, the last tail of it, or all where tail
// is negative; and with follow what comes, until the session ends or ctx does.
func (r *Remote) Events(ctx context.Context, follow bool, tail int, f func(session.Notice)) error {
	return each(ctx, r, "events", values(follow, tail), func(n *session.Notice) { f(*n) })
}

// Lines hands over log lines, the last tail of those that are there, or all of
// them where tail is negative; and with follow what comes.
func (r *Remote) Lines(ctx context.Context, follow bool, tail int, f func(Line)) error {
	return each(ctx, r, "lines", values(follow, tail), func(l *Line) { f(*l) })
}

// ErrNoLines is what a session answers that reads no logs: one with `-o json`.
var ErrNoLines = errors.New("the session reads no logs")

// LinesOfEach is Lines with the last tail of each container, build and process.
func (r *Remote) LinesOfEach(ctx context.Context, follow bool, tail int, f func(Line)) error {
	return each(ctx, r, "lines", ofEach(follow, tail), func(l *Line) { f(*l) })
}

// LocalLines is LinesOfEach without those of containers. A session of a version that does
// not know it hands these over too.
func (r *Remote) LocalLines(ctx context.Context, follow bool, tail int, f func(Line)) error {
	query := ofEach(follow, tail)
	query.Set("local", "true")
	return each(ctx, r, "lines", query, func(l *Line) {
		if l.Pod == "" {
			f(*l)
		}
	})
}

func ofEach(follow bool, tail int) url.Values {
	query := values(follow, -1)
	if tail >= 0 {
		query.Set("each", fmt.Sprint(tail))
	}
	return query
}

func values(follow bool, tail int) url.Values {
	v := url.Values{}
	if follow {
		v.Set("follow", "true")
	}
	if tail >= 0 {
		v.Set("tail", fmt.Sprint(tail))
	}
	return v
}

// each reads a stream of values; its end is no error.
func each[T any](ctx context.Context, r *Remote, what string, query url.Values, f func(*T)) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://kdev/v1/"+what+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := r.request(req)
	if err != nil {
		return r.gone(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound && what == "lines" {
		return ErrNoLines
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the session for its %s: %s", what, answer(resp.Body))
	}
	frames := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		frame, err := readFrame(frames, longestFrame)
		v := new(T)
		if err == nil {
			err = json.Unmarshal(frame, v)
		}
		switch {
		case err == nil:
			f(v)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), ctx.Err() != nil:
			return nil // it has left, or we have
		default:
			return fmt.Errorf("read the session's %s: %w", what, err)
		}
	}
}

// answer is the text of a refusal.
func answer(body io.Reader) string {
	text, _ := io.ReadAll(io.LimitReader(body, 1<<10))
	return string(bytes.TrimSpace(text))
}

// gone says that a session did not answer, or why it cannot.
func (r *Remote) gone(err error) error {
	if p := problem.As(err); p != nil {
		return p
	}
	return &problem.Problem{Code: "session-gone", Where: r.About.Root, Summary: "the session does not answer", Err: err,
		Hint: "it has probably just ended: `kdev up` starts another one"}
}
