package local

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// A Check says when a server is ready. At most one of its fields is set; without
// any it is ready when it was started.
type Check struct {
	HTTP string         // a URL that answers with a status below 400
	Port int            // of this machine, which accepts a connection
	Log  *regexp.Regexp // that matches a line of its output
}

// every is the time between two looks. What a process does at a port has no signal
// that one could wait for.
const every = 100 * time.Millisecond

// asking bounds one look.
const asking = 2 * time.Second

// Taken is the error of a server whose place another program has: its check is
// passed before it was started, so it would say nothing.
type Taken struct{ Place string }

func (e *Taken) Error() string { return e.Place + " is answered by another program" }

// free says whether the check still fails, as it has to before the start.
func (c Check) free(ctx context.Context) error {
	if c.polls() && c.passes(ctx) {
		return &Taken{c.place()}
	}
	return nil
}

func (c Check) polls() bool { return c.HTTP != "" || c.Port != 0 }

func (c Check) place() string {
	if c.HTTP != "" {
		return c.HTTP
	}
	return fmt.Sprintf("port %d", c.Port)
}

// watch closes up when the check is passed, unless ctx is done before. hear wants
// each line of the output. What it starts is in work.
func (c Check) watch(ctx context.Context, work *sync.WaitGroup) (up <-chan struct{}, hear func(string)) {
	passed := make(chan struct{})
	hear = func(string) {}
	switch {
	case c.Log != nil:
		var once sync.Once
		hear = func(text string) {
			if c.Log.MatchString(text) {
				once.Do(func() { close(passed) })
			}
		}
	case c.polls():
		work.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for !c.passes(ctx) {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
			close(passed)
		})
	default:
		close(passed)
	}
	return passed, hear
}

// passes looks once.
func (c Check) passes(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	if c.HTTP == "" {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort("localhost", strconv.Itoa(c.Port)))
		if err != nil {
			return false
		}
		conn.Close()
		return true
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.HTTP, nil)
	if err != nil {
		return false // the configuration was checked
	}
	// A transport of its own: no proxy stands before this machine's own ports, and
	// no connection outlives the look.
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode < 400
}
