package mirror

import (
	"context"
	"io"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/protocol"
	"github.com/kdev-io/kdev/sync/transport"
)

// An Observer looks into one container, beside whoever syncs it.
type Observer struct {
	conn io.ReadWriteCloser
	in   *protocol.Reader
	out  *protocol.Writer
	at   Container
	seen Observation
}

// An Observation is what an agent says of its container.
type Observation struct {
	Syncing    bool   // a kdev is connected
	Phase      string // of the application: waiting, running, held, aside; empty where the agent runs none
	Unsynced   bool   // the application was started before anybody came
	Generation uint64 // of the last batch
	Lag        time.Duration
	Bytes      int64  // of all batches since the container's start
	Failed     string // why the last batch was not carried out whole
}

// Observe connects to the agent of a container that runs. Close ends it.
func Observe(ctx context.Context, dial transport.Dialer, c Container) (*Observer, error) {
	conn, err := dial.Dial(ctx, c.Namespace, c.Pod, c.Name)
	if err != nil {
		return nil, observed(c, err)
	}
	o := &Observer{conn: conn, in: protocol.NewReader(conn), out: protocol.NewWriter(conn), at: c}
	if err := o.hello(ctx); err != nil {
		conn.Close()
		return nil, observed(c, err)
	}
	return o, nil
}

// observed is the problem of a connection, where it is one that people know.
func observed(c Container, err error) error {
	if p, _ := dialProblem(c, err); p != nil {
		return p
	}
	return &problem.Problem{Code: NoConnection, Summary: "there is no connection to the agent in the container", Where: where(c), Err: &quoted{err}}
}

func (o *Observer) hello(ctx context.Context) error {
	if err := o.send(&protocol.Hello{Protocol: protocol.Version, Observe: true}); err != nil {
		return err
	}
	m, err := o.receive(ctx)
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case *protocol.Refuse:
		return &refusedError{m.Code, m.Text}
	case *protocol.Welcome:
		o.seen = Observation{
			Syncing: m.Synced, Phase: phaseWord(m.Process), Unsynced: m.Unsynced,
			Generation: m.Last.Generation, Lag: duration(m.Last.Took), Bytes: m.Last.Bytes, Failed: plain(m.Last.Failed),
		}
		return nil
	}
	return protocol.ErrFrame
}

// Observation is what the agent said when it was connected to.
func (o *Observer) Observation() Observation { return o.seen }

// Verify hashes the wanted paths in the container and lists what differs.
func (o *Observer) Verify(ctx context.Context, want map[string]engine.File) ([]Drift, error) {
	entries, err := askAll(ctx, o, slices.Sorted(maps.Keys(want)))
	if err != nil {
		return nil, observed(o.at, err)
	}
	var all []Drift
	for _, e := range entries {
		have, _ := fileOf(e.File)
		if why := differs(want[e.Path], have, e.File.Type); why != "" {
			all = append(all, Drift{o.at.Pod, o.at.Name, e.Path, why})
		}
	}
	return all, nil
}

// Repair has whoever syncs the container check its files and put them right. It
// says whether there is somebody; it does not wait for the end.
func (o *Observer) Repair(ctx context.Context) (bool, error) {
	if err := o.send(&protocol.Repair{}); err != nil {
		return false, observed(o.at, err)
	}
	m, err := o.receive(ctx)
	if err != nil {
		return false, observed(o.at, err)
	}
	r, ok := m.(*protocol.Repaired)
	if !ok {
		return false, observed(o.at, protocol.ErrFrame)
	}
	return r.Told, nil
}

// Pull copies a file of the container to w; none of more than limit bytes.
func (o *Observer) Pull(ctx context.Context, path string, limit int64, to io.Writer) (fs.FileMode, error) {
	mode, told, fatal := fetch(ctx, o, where(o.at), path, limit, to)
	if p := problem.As(fatal); p != nil {
		return 0, p
	}
	if fatal != nil {
		return 0, observed(o.at, fatal)
	}
	return mode, told
}

// Close ends the connection.
func (o *Observer) Close() error { return o.conn.Close() }

func (o *Observer) send(m protocol.Message) error {
	if err := o.out.Send(m); err != nil {
		return err
	}
	return o.out.Flush()
}

// receive waits for the next message, at most as long as ctx lasts and an agent
// that hashes a lot may be silent.
func (o *Observer) receive(ctx context.Context) (protocol.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	defer context.AfterFunc(ctx, func() { o.conn.Close() })()
	m, err := o.in.Receive()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return m, err
}
