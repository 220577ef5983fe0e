package agent

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/kdev-io/kdev/sync/protocol"
)

// program is what a session needs of the process that it runs in.
type program interface {
	// process is the application's state, and whether it was started unsynced.
	process() (p protocol.Process, unsynced bool)
	// act takes on what follows the writes of a batch.
	act(gen uint64, end *protocol.End)
	// runs says whether there is an application that can be restarted in place, and
	// restarts whether there is one at all that act can have started again.
	runs() bool
	restarts() bool
	// syncs says whether a connection that syncs is there, and repair asks it to
	// look at its files again.
	syncs() bool
	repair() bool
}

// A session serves one connection.
type session struct {
	store   *store
	prog    program
	version string
	in, out *os.File
	r       *protocol.Reader
	batch   *batch
	freeing sync.WaitGroup // files that batches replaced
	began   time.Time      // of the batch
	before  int64          // bytes that had come when it began
	observe bool           // it may ask and fetch, and nothing else

	mu     sync.Mutex // of w: notices come from another goroutine
	w      *protocol.Writer
	client [16]byte
	seen   time.Time // when the client last said something

	notices  chan *protocol.Notice
	told     chan struct{} // closed when all notices were sent
	silence  chan struct{} // closed when no more notices are to be taken
	silently sync.Once
}

// writeLimit is how long an answer may wait for a peer that does not read. The
// application's own goroutines wait behind it.
const writeLimit = 5 * time.Second

func newSession(st *store, prog program, version string, in, out *os.File) *session {
	return &session{
		store: st, prog: prog, version: version, in: in, out: out,
		r: protocol.NewReader(in), w: protocol.NewWriter(out),
		notices: make(chan *protocol.Notice, 64), told: make(chan struct{}), silence: make(chan struct{}),
	}
}

// hello reads the first message and returns who is there.
func (s *session) hello() (*protocol.Hello, error) {
	_ = s.in.SetReadDeadline(time.Now().Add(writeLimit)) // a plain file has none
	m, err := s.r.Receive()
	if err != nil {
		return nil, err
	}
	_ = s.in.SetReadDeadline(time.Time{})
	h, ok := m.(*protocol.Hello)
	if !ok {
		return nil, protocol.ErrFrame
	}
	s.mu.Lock()
	s.client, s.seen, s.observe = h.Client, time.Now(), h.Observe
	s.mu.Unlock()
	return h, nil
}

// refuse tells why there is no session.
func (s *session) refuse(code, text string) {
	_ = s.send(&protocol.Refuse{Code: code, Text: text})
}

// serve speaks until the connection ends.
func (s *session) serve(h *protocol.Hello) error {
	if h.Protocol != protocol.Version {
		s.refuse("version", "this agent speaks version "+itoa(protocol.Version)+" of the protocol")
		return errors.New("another version of the protocol")
	}
	if err := s.welcome(h); err != nil {
		return err
	}
	defer func() {
		if s.batch != nil {
			s.batch.close()
			s.batch.replaced.free()
		}
		s.freeing.Wait()
	}()
	for {
		k, payload, err := s.r.Read()
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.seen = time.Now()
		s.mu.Unlock()
		if k == protocol.KindData {
			if s.batch == nil {
				return protocol.ErrFrame
			}
			if err := s.batch.data(payload); err != nil {
				return err
			}
			continue
		}
		m, err := protocol.Decode(k, payload)
		if err != nil {
			return err
		}
		if err := s.message(m); err != nil {
			return err
		}
	}
}

func (s *session) welcome(h *protocol.Hello) error {
	w := &protocol.Welcome{
		Protocol: protocol.Version, Agent: s.version, Boot: s.store.boot, Version: s.store.now(),
		Run: s.prog.runs(), Restarts: s.prog.restarts(), UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Mounts: mounts(),
	}
	w.Process, w.Unsynced = s.prog.process()
	w.Synced, w.Last = s.prog.syncs(), s.store.lastBatch()
	// The same version is no proof that nobody changed a file by hand; kdev asks
	// for a verification when it wants one.
	w.Same = h.Boot == w.Boot && h.Version == w.Version || s.observe
	if w.Same {
		return s.send(w)
	}
	entries := s.store.entries()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.w.Send(w); err != nil {
		return err
	}
	parts := protocol.Parts(entries)
	for i, part := range parts {
		if err := s.w.Send(&protocol.State{Entries: part, Last: i == len(parts)-1}); err != nil {
			return err
		}
	}
	return s.flush()
}

func (s *session) message(m protocol.Message) error {
	switch m := m.(type) {
	case *protocol.Ping:
		return s.send(&protocol.Pong{N: m.N})
	case *protocol.Ask:
		return s.ask(m)
	case *protocol.Fetch:
		return s.fetch(m)
	case *protocol.Repair:
		return s.send(&protocol.Repaired{Told: s.prog.repair()})
	}
	if s.observe {
		return errors.New("an observer that wants to change something")
	}
	switch m := m.(type) {
	case *protocol.Begin:
		if s.batch != nil {
			return errors.New("a batch inside a batch")
		}
		s.began, s.before = time.Now(), s.r.Received()
		b, err := newBatch(s.store, m)
		s.batch = b
		return err
	case *protocol.End:
		if s.batch == nil || s.batch.into != nil {
			return errors.New("the end of no batch")
		}
		return s.end(m)
	case *protocol.Command:
		s.prog.act(0, &protocol.End{Restart: m.Restart, Hold: m.Hold, Signal: m.Signal})
		return nil
	}
	if s.batch == nil {
		return errors.New("an operation outside a batch")
	}
	return s.batch.operation(m)
}

// end puts the batch in place, answers, and only then hands on what follows it:
// the answer says that the files are there.
func (s *session) end(m *protocol.End) error {
	b := s.batch
	s.batch = nil
	ack := b.end()
	b.close()
	// Beside what comes next: it is in nobody's way.
	defer s.freeing.Go(b.replaced.free)
	ack.Version = s.store.now()
	ack.Acted = actable(ack.Results)
	s.store.carriedOut(b.gen, time.Since(s.began), s.r.Received()-s.before, ack.Results)
	acted := ack.Acted
	s.mu.Lock()
	err := s.sendAck(ack)
	s.mu.Unlock()
	if acted {
		s.prog.act(b.gen, m)
	}
	return err
}

func (s *session) sendAck(ack *protocol.Ack) error {
	const most = 200 // results in a frame, each with a path of up to 4 KB and a short text
	for {
		part := *ack
		part.More = len(ack.Results) > most
		part.Results = ack.Results[:min(most, len(ack.Results))]
		ack.Results = ack.Results[len(part.Results):]
		if len(part.InPlace) > most {
			part.InPlace = part.InPlace[:most]
		}
		if err := s.w.Send(&part); err != nil {
			return err
		}
		if !part.More {
			return s.flush()
		}
	}
}

// actable says whether commands and restart may follow: not when kdev will send
// a path of the batch again, since the application would start on half of it. A
// path that can never be written holds nothing up.
func actable(results []protocol.Result) bool {
	for i := range results {
		if again(results[i].Code) {
			return false
		}
	}
	return true
}

func again(c protocol.Code) bool {
	switch c {
	case protocol.Mismatch, protocol.Full, protocol.Corrupt, protocol.Aborted, protocol.Failed:
		return true
	}
	return false
}

// ask answers what paths hold.
func (s *session) ask(m *protocol.Ask) error {
	entries := make([]protocol.Entry, 0, len(m.Paths))
	flush := func(last bool) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		parts := protocol.Parts(entries)
		for i, part := range parts {
			if err := s.w.Send(&protocol.Answer{ID: m.ID, Entries: part, Last: last && i == len(parts)-1}); err != nil {
				return err
			}
		}
		entries = entries[:0]
		return s.flush()
	}
	sent := time.Now()
	for _, p := range m.Paths {
		if !protocol.ValidPath(p) {
			return errBadPath
		}
		f, err := s.store.look(p)
		if err != nil {
			f = protocol.File{Type: protocol.Unknown}
		}
		entries = append(entries, protocol.Entry{Path: p, File: s.store.said(p, f)})
		// Big files take their time; what is sent meanwhile shows that we live.
		if time.Since(sent) > time.Second {
			if err := flush(false); err != nil {
				return err
			}
			sent = time.Now()
		}
	}
	return flush(true)
}

// fetch answers with a file's content.
func (s *session) fetch(m *protocol.Fetch) error {
	if !protocol.ValidPath(m.Path) {
		return errBadPath
	}
	f, err := os.Open(m.Path)
	if err != nil {
		return s.send(&protocol.Fetched{Text: textOf(err)})
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return s.send(&protocol.Fetched{File: protocol.File{Type: protocol.Other}, Text: "not a regular file"})
	}
	head := &protocol.Fetched{File: protocol.File{Type: protocol.Regular, Perm: permOf(info), Size: info.Size()}, MTime: info.ModTime().UnixNano()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.w.Send(head); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for {
		n, rerr := f.Read(buf)
		if n > 0 {
			_ = s.out.SetWriteDeadline(time.Now().Add(writeLimit))
			if err := s.w.Write(protocol.KindData, buf[:n]); err != nil {
				return err
			}
		}
		if rerr != nil {
			if err := s.w.Send(&protocol.PutEnd{Abort: rerr != io.EOF}); err != nil {
				return err
			}
			return s.flush()
		}
	}
}

func (s *session) send(m protocol.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.w.Send(m); err != nil {
		return err
	}
	return s.flush()
}

func (s *session) flush() error {
	_ = s.out.SetWriteDeadline(time.Now().Add(writeLimit))
	return s.w.Flush()
}

// notice queues n. The application's loop calls it and never waits for a peer; one
// that does not read loses its connection and learns the state from the next one.
func (s *session) notice(n *protocol.Notice) {
	select {
	case s.notices <- n:
	default:
		s.hangUp()
	}
}

// tell sends notices, and after endNotices what is left of them.
func (s *session) tell() {
	defer close(s.told)
	for {
		select {
		case n := <-s.notices:
			s.tellOne(n)
		case <-s.silence:
			for {
				select {
				case n := <-s.notices:
					s.tellOne(n)
				default:
					return
				}
			}
		}
	}
}

func (s *session) tellOne(n *protocol.Notice) {
	if s.send(n) != nil {
		s.hangUp()
	}
}

func (s *session) endNotices() { s.silently.Do(func() { close(s.silence) }) }

// idle is how long the client has been silent.
func (s *session) idle() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.seen)
}

// hangUp ends the connection from another goroutine.
func (s *session) hangUp() {
	s.in.Close()
	s.out.Close()
}
