package deploy

import (
	"context"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
)

const (
	outageLimit = time.Minute            // how long the API server may be away in the middle of a piece of work
	outageTries = 5                      // how often it may go away during one piece of work
	outagePing  = 500 * time.Millisecond // between two looks whether it is back
)

// through does a piece of work that can be done again from its beginning, again
// when the API server went away in its middle and came back: a restart of the
// control plane takes half a minute and should fail nobody's work.
func (d *Deployer) through(ctx context.Context, work func() error) error {
	for try := 1; ; try++ {
		err := work()
		if !hasCode(err, "cluster-unreachable") || ctx.Err() != nil || try >= outageTries {
			return err
		}
		d.tell("the API server does not answer: waiting for it")
		if !d.awaitAPI(ctx) {
			return err
		}
		d.tell("the API server is back: going on")
	}
}

func (d *Deployer) tell(text string) {
	d.telling.Lock() // objects are waited for side by side
	defer d.telling.Unlock()
	if d.options.Progress != nil {
		d.options.Progress(text)
	}
}

// awaitAPI reports whether the API server answered in time.
func (d *Deployer) awaitAPI(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, outageLimit)
	defer cancel()
	ticker := time.NewTicker(outagePing)
	defer ticker.Stop()
	for {
		if d.client.Ping(ctx) == nil {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
}

// hasCode says whether one of the errors joined in err is a problem of this code.
func hasCode(err error, code string) bool {
	if err == nil {
		return false
	}
	if p, ok := err.(*problem.Problem); ok && p.Code == code { //nolint:errorlint // each level is looked at
		return true
	}
	switch e := err.(type) { //nolint:errorlint // as above
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if hasCode(inner, code) {
				return true
			}
		}
	case interface{ Unwrap() error }:
		return hasCode(e.Unwrap(), code)
	}
	return false
}
