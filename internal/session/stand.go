package session

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/sync/transport"
	"github.com/kdev-io/kdev/sync/tunnel"
)

// A stand is what lets a program on this machine stand in for a service's own: the
// environment of one of its containers, a stream to each container over which the
// connections to its ports come here, and ports here that lead to other Services.
// It outlives the loops, as the program does. Its methods are for the loop's
// goroutine, except where they say otherwise.
type stand struct {
	s      *Session
	config *config.StandIn
	// print writes what a command of the agent prints; dial opens a stream to one.
	print func(ctx context.Context, at containerKey, out io.Writer, command ...string) error
	dial  func(command ...string) transport.Dialer

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	reading  context.CancelFunc // of the environment; nil: nobody reads
	from     containerKey       // whose environment it is
	wanted   []standContainer
	carriers map[containerKey]*carrier
	sites    map[string]*site // by Service
	doors    []*forwarder

	mu   sync.Mutex
	ours map[int]bool // ports of localhost that the session itself has
	vars []string     // of the container; nil until they were read
	read int          // how often they were
	err  error        // why they could not be
}

// A standContainer is a container whose ports are to be carried here.
type standContainer struct {
	key   containerKey
	ports []int // the main one first; none: the program there only ends
}

// A carrier is the stream to one container.
type carrier struct {
	ports  []int
	cancel context.CancelFunc

	up  bool  // connections come; stand.mu
	err error // why they do not; stand.mu
}

func newStand(ctx context.Context, s *Session, c *config.StandIn) *stand {
	st := &stand{s: s, config: c, carriers: map[containerKey]*carrier{}, sites: map[string]*site{}}
	st.ctx, st.cancel = context.WithCancel(ctx)
	st.print = func(ctx context.Context, at containerKey, out io.Writer, command ...string) error {
		return s.parts.Kube.Exec(ctx, s.front.namespace, at.pod, at.container, command, nil, out, io.Discard)
	}
	st.dial = func(command ...string) transport.Dialer { return transport.Command(s.parts.Kube.Config, command...) }
	return st
}

// close ends all of it, and returns when nothing is left.
func (st *stand) close() {
	st.cancel()
	st.work.Wait()
	for _, d := range st.doors {
		d.listener.Close()
	}
}

// want says which containers run now, and whether their connections are to come
// here.
func (st *stand) want(containers []standContainer, carry bool) {
	st.wanted = containers
	there := func(key containerKey) bool {
		return slices.ContainsFunc(containers, func(c standContainer) bool { return c.key == key })
	}
	if st.reading != nil && !there(st.from) {
		st.reading()
		st.reading = nil
	}
	if st.reading == nil && len(containers) > 0 {
		ctx, cancel := context.WithCancel(st.ctx)
		st.reading, st.from = cancel, containers[0].key
		at := st.from
		st.work.Go(func() { st.readEnvironment(ctx, at) })
	}
	for key, c := range st.carriers {
		i := slices.IndexFunc(containers, func(c standContainer) bool { return c.key == key })
		if i < 0 || !slices.Equal(containers[i].ports, c.ports) {
			c.cancel()
			delete(st.carriers, key)
		}
	}
	for _, c := range containers {
		if st.carriers[c.key] != nil || !carry {
			continue
		}
		ctx, cancel := context.WithCancel(st.ctx)
		one := &carrier{ports: c.ports, cancel: cancel}
		st.carriers[c.key] = one
		st.work.Go(func() { st.carry(ctx, c.key, one) })
	}
}

// environment is what was last read, and how often it was; and why it could not be.
func (st *stand) environment() (vars []string, read int, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.vars, st.read, st.err
}

// carrying says whether the connections of each container come here, and if not
// why, as far as that is known.
func (st *stand) carrying() (all bool, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	all = true
	for _, key := range slices.SortedFunc(maps.Keys(st.carriers), compareKeys) {
		c := st.carriers[key]
		all = all && c.up
		err = cmp.Or(err, c.err)
	}
	return all, err
}

// standRetry is the time between two tries to reach a container, longestRetry what
// it grows to.
const (
	standRetry   = 100 * time.Millisecond
	longestRetry = 2 * time.Second
)

const (
	// environmentPatience is how long an agent may take to tell the environment.
	environmentPatience = 20 * time.Second
	// longestEnvironment is far more than a kernel gives to a program.
	longestEnvironment = 1 << 20
)

// A limited buffer takes so many bytes and no more.
type limited struct {
	all  []byte
	most int
}

func (l *limited) Write(b []byte) (int, error) {
	if len(b) > l.most-len(l.all) {
		return 0, errors.New("it is longer than an environment can be")
	}
	l.all = append(l.all, b...)
	return len(b), nil
}

// readEnvironment asks a container for its environment until it answers.
func (st *stand) readEnvironment(ctx context.Context, at containerKey) {
	st.again(ctx, func() bool {
		trying, cancel := context.WithTimeout(ctx, environmentPatience)
		defer cancel()
		out := &limited{most: longestEnvironment}
		err := st.print(trying, at, out, build.Agent, "env")
		if ctx.Err() != nil {
			return true
		}
		st.mu.Lock()
		if st.err = err; err == nil {
			st.vars, st.read = strings.Split(strings.TrimSuffix(string(out.all), "\x00"), "\x00"), st.read+1
		}
		st.mu.Unlock()
		st.s.locals.signal()
		return err == nil
	})
}

// again does something until it is done, with a growing time between two tries.
func (st *stand) again(ctx context.Context, do func() (done bool)) {
	for wait := standRetry; !do(); wait = min(2*wait, longestRetry) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// carry keeps the stream to one container open.
func (st *stand) carry(ctx context.Context, at containerKey, c *carrier) {
	command := []string{build.Agent, "carry"}
	for _, port := range c.ports {
		command = append(command, strconv.Itoa(port))
	}
	dialer := st.dial(command...)
	tell := func(up bool, err error) {
		st.mu.Lock()
		c.up, c.err = up, err
		st.mu.Unlock()
		st.s.locals.signal()
	}
	for ctx.Err() == nil {
		st.again(ctx, func() bool {
			stream, err := dialer.Dial(ctx, st.s.front.namespace, at.pod, at.container)
			if err != nil {
				if ctx.Err() == nil {
					tell(false, err)
				}
				return ctx.Err() != nil
			}
			t := tunnel.New(stream, func(conn *tunnel.Conn) { st.serve(ctx, conn, c.ports) })
			defer t.Close()
			var since time.Time
			select {
			case <-t.Up():
				since = time.Now()
				tell(true, nil)
				select {
				case <-t.Done():
				case <-ctx.Done():
				}
			case <-t.Done():
			case <-ctx.Done():
			}
			if ctx.Err() != nil {
				return true
			}
			err = t.Err()
			if errors.Is(err, io.EOF) {
				err = nil // the container has ended, or the agent was told to
			}
			tell(false, err)
			return !since.IsZero() && time.Since(since) > longestRetry // at once: it worked until now
		})
	}
}
