package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/logs/store"
)

// Subject is what a Server shows and steers: a session.
type Subject interface {
	session.Control
	OnNotice(func(session.Notice))
}

// keptEvents is how many events a late comer gets to see.
const keptEvents = 1000

// A Server answers on the socket of one session.
type Server struct {
	about   About
	dir     string
	subject Subject
	lines   *store.Store // nil where nothing reads the logs

	listener net.Listener

	mu     sync.Mutex
	events []session.Notice
	first  int           // number of events[0]
	moved  chan struct{} // closed and replaced when an event came
}

// Listen opens the socket of a session. Nothing is answered before Serve. lines
// may be nil.
//
// Problems: socket-unsafe.
func Listen(getenv func(string) string, about About, subject Subject, lines *store.Store) (*Server, error) {
	s := &Server{about: about, dir: Dir(getenv), subject: subject, lines: lines, moved: make(chan struct{})}
	if err := private(s.dir); err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	path := about.Socket(s.dir)
	// The lock of the namespace is ours, so a socket that is there is one that a
	// killed session left.
	_ = os.Remove(path)
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	s.listener = listener
	text, err := json.Marshal(about)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err == nil {
		err = os.WriteFile(s.aboutFile(), text, 0o600)
	}
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	subject.OnNotice(s.noticed)
	return s, nil
}

func (s *Server) aboutFile() string { return filepath.Join(s.dir, s.about.name()+".json") }

// Serve answers until ctx is done, and removes the socket.
func (s *Server) Serve(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/about", func(w http.ResponseWriter, _ *http.Request) { write(w, s.about) })
	mux.HandleFunc("GET /v1/state", s.state)
	mux.HandleFunc("GET /v1/events", s.eventStream)
	mux.HandleFunc("GET /v1/lines", s.lineStream)
	mux.HandleFunc("POST /v1/do", s.do)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: longestCommand, BaseContext: func(net.Listener) context.Context { return ctx }}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(guarded{s.listener}) }()
	var err error
	select {
	case <-ctx.Done():
		// Streams end with ctx; what is being answered has a moment.
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 500*time.Millisecond)
		defer cancel()
		if server.Shutdown(last) != nil {
			server.Close()
		}
		<-ended
	case err = <-ended:
	}
	_ = os.Remove(s.aboutFile())
	_ = os.Remove(s.about.Socket(s.dir)) // Go removes it with the listener, but not everywhere
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("answer on the control socket: %w", err)
	}
	return nil
}

// noticed is called by the session's loop and keeps an event.
func (s *Server) noticed(n session.Notice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, n)
	if extra := len(s.events) - keptEvents; extra >= keptEvents {
		s.events = append([]session.Notice(nil), s.events[extra:]...)
		s.first += extra
	}
	close(s.moved)
	s.moved = make(chan struct{})
}

// since returns the events from number n on, the number after the last, and what
// is closed when there are more.
func (s *Server) since(n int) ([]session.Notice, int, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := max(n-s.first, 0)
	var out []session.Notice
	if from < len(s.events) {
		out = s.events[from:len(s.events):len(s.events)]
	}
	return out, s.first + len(s.events), s.moved
}

func (s *Server) state(w http.ResponseWriter, r *http.Request) {
	changed, stop := s.subject.Subscribe()
	defer stop()
	out := newStream(w)
	for {
		if !out.send(s.subject.State()) || r.FormValue("follow") != "true" {
			return
		}
		out.flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func (s *Server) eventStream(w http.ResponseWriter, r *http.Request) {
	out := newStream(w)
	next := 0
	if tail, err := strconv.Atoi(r.FormValue("tail")); err == nil {
		_, end, _ := s.since(0)
		next = max(0, end-tail)
	}
	for {
		events, after, more := s.since(next)
		next = after
		for _, n := range events {
			if !out.send(n) {
				return
			}
		}
		if r.FormValue("follow") != "true" {
			return
		}
		out.flush()
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
	}
}

// Line is one line of a log.
type Line struct {
	Time      time.Time `json:"time"`
	Service   string    `json:"service,omitempty"`
	Namespace string    `json:"namespace,omitempty"`
	Pod       string    `json:"pod,omitempty"`
	Container string    `json:"container,omitempty"`
	Node      string    `json:"node,omitempty"`
	Name      string    `json:"name,omitempty"` // of what is no container: build/web, local/docs
	Text      string    `json:"text"`
}

func (s *Server) lineStream(w http.ResponseWriter, r *http.Request) {
	if s.lines == nil {
		http.Error(w, "this session reads no logs", http.StatusNotFound)
		return
	}
	cursor := s.lines.Cursor(false)
	defer cursor.Close()
	skip := uint64(0)
	if tail, err := strconv.ParseUint(r.FormValue("tail"), 10, 64); err == nil {
		if stats := s.lines.Stats(); stats.Next > tail {
			skip = stats.Next - tail
		}
	}
	follow, local := r.FormValue("follow") == "true", r.FormValue("local") == "true"
	end := s.lines.Stats().Next
	var left map[*store.Source]int // how many of a source's lines are passed over
	if n, err := strconv.Atoi(r.FormValue("each")); err == nil && n >= 0 {
		left = s.beyond(n, end)
	}
	out := newStream(w)
	for {
		segments, _ := cursor.Next()
		for i := range segments {
			g := &segments[i]
			if local && g.Source.Kind != store.Local {
				continue
			}
			service := s.serviceOf(g.Source)
			for j, l := range g.Lines {
				number := g.First + uint64(j)
				if number < skip || said(g.Source) {
					continue
				}
				if left[g.Source] > 0 && number < end {
					left[g.Source]--
					continue
				}
				at := time.Time{}
				if l.Time != 0 {
					at = time.Unix(0, l.Time)
				}
				src := g.Source
				if !out.send(Line{Time: at, Service: service, Namespace: src.Namespace, Pod: src.Pod, Container: src.Container, Node: src.Node, Name: src.Name, Text: string(g.Text(l))}) {
					return
				}
			}
		}
		if !follow && (len(segments) == 0 || cursor.Position() >= end) {
			return
		}
		if len(segments) > 0 {
			continue
		}
		out.flush()
		select {
		case <-cursor.Changed():
		case <-r.Context().Done():
			return
		}
	}
}

// beyond counts for each source the lines below a number that are older than its
// last n.
func (s *Server) beyond(n int, end uint64) map[*store.Source]int {
	cursor := s.lines.Cursor(false)
	defer cursor.Close()
	more := map[*store.Source]int{}
	for cursor.Position() < end {
		segments, _ := cursor.Next()
		if len(segments) == 0 {
			break
		}
		for i := range segments {
			g := &segments[i]
			for j := range g.Lines {
				if g.First+uint64(j) < end {
					more[g.Source]++
				}
			}
		}
	}
	for source := range more {
		more[source] -= n
	}
	return more
}

// said says whether a source holds what the face writes of events, which are told as such.
func said(src *store.Source) bool {
	kind, _, _ := strings.Cut(src.Name, "/")
	return src.Kind == store.Local && (kind == "" || kind == "kdev")
}

// serviceOf names the service whose pod, build or process wrote lines.
func (s *Server) serviceOf(src *store.Source) string {
	if _, name, ok := strings.Cut(src.Name, "/"); ok && src.Kind == store.Local {
		return name
	}
	return s.subject.State().ServiceOf(src.Namespace, src.Pod)
}

// result is the answer to a command.
type result struct {
	Text    string           `json:"text,omitempty"`
	Problem *problem.Problem `json:"problem,omitempty"`
}

func (s *Server) do(w http.ResponseWriter, r *http.Request) {
	c, err := decodeCommand(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	text, err := s.subject.Do(r.Context(), c)
	out := result{Text: text}
	if err != nil {
		if out.Problem = problem.As(err); out.Problem == nil {
			out.Problem = &problem.Problem{Code: "command-failed", Summary: err.Error()}
		}
	}
	write(w, out)
}

func write(w http.ResponseWriter, v any) { newStream(w).send(v) }

// A stream writes one JSON value a line.
type stream struct {
	enc *json.Encoder
	rc  *http.ResponseController
}

func newStream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return &stream{enc, http.NewResponseController(w)}
}

// send is false when the other end is gone.
func (s *stream) send(v any) bool { return s.enc.Encode(v) == nil }
func (s *stream) flush()          { _ = s.rc.Flush() }
