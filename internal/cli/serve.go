package cli

import (
	"context"
	"os"
	"sync"

	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/session/control"
	"github.com/kdev-io/kdev/logs/store"
)

// serveControl answers other commands on the session's socket until ctx is done.
// A session without one goes on: what cannot be had is told.
func (o *upOptions) serveControl(ctx context.Context, work *sync.WaitGroup, s control.Subject, face face) {
	st := s.State()
	about := control.About{
		APIVersion: apiVersion, Project: st.Project, Root: st.Root, Context: st.Context, Namespace: st.Namespace,
		PID: os.Getpid(), Started: st.Started, Detached: o.logFile != "", Log: o.logFile,
	}
	var lines *store.Store
	if f, ok := face.(interface{ lines() *store.Store }); ok {
		lines = f.lines()
	}
	lost := func(err error) {
		face.notice(session.Notice{Level: session.Warn, Code: "control-unavailable", Text: "other commands cannot reach this session",
			Problem: asProblem(err, "control-unavailable")})
	}
	server, err := control.Listen(o.env.Getenv, about, s, lines)
	if err != nil {
		lost(err)
		return
	}
	work.Go(func() {
		if err := server.Serve(ctx); err != nil {
			lost(err)
		}
	})
}
