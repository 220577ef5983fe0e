package cli

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
)

// An apply that is not done in time ends with what it waited for; what else went wrong is not
// hidden by that.
func TestLateApply(t *testing.T) {
	stuck := &problem.Problem{Class: problem.Timeout, Code: "removal-stuck", Summary: "waits"}
	refused := &problem.Problem{Class: problem.Rollout, Code: "object-refused", Summary: "no"}
	away := &problem.Problem{Code: "cluster-unreachable", Summary: "away"}
	const waited = "the API server does not answer: waiting for it"
	for _, tc := range []struct {
		err    error
		code   string
		exit   int
		output string
	}{
		{errors.Join(context.DeadlineExceeded, errors.Join(stuck, context.DeadlineExceeded)), "removal-stuck", 4, ""},
		{errors.Join(refused, context.DeadlineExceeded), "object-refused", 3, ""},
		{errors.Join(context.DeadlineExceeded), "not-ready", 4, waited},
		{away, "not-ready", 4, waited},
	} {
		r := &release{timeout: time.Minute, face: &jsonFace{out: nowhere{}}}
		r.progress(waited)
		err := r.late(tc.err)
		p := problem.As(err)
		if p == nil || p.Code != tc.code || p.ExitCode() != tc.exit || p.Output != tc.output {
			t.Errorf("%v: %v, %+v", tc.err, err, p)
		}
	}
	if err := (&release{}).late(nil); err != nil {
		t.Errorf("done at the last moment: %v", err)
	}
}

type nowhere struct{}

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
