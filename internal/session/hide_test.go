package session

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/problem"
)

// Nothing that is said of a session holds a value of a Secret, whoever asks; what the
// loop itself works with stays as it is.
func TestHideInSnapshots(t *testing.T) {
	p := func() *problem.Problem {
		return &problem.Problem{Code: "x", Summary: "s3cret a", Where: "s3cret b", Output: "s3cret c", Hint: "s3cret d", Err: errors.New("s3cret e")}
	}
	build, local, own := &Build{Lines: []string{"s3cret"}, Steps: []Step{{Name: "s3cret"}}}, &LocalWork{Lines: []string{"s3cret"}}, p()
	s := &Session{parts: Parts{Hide: func(text string) string { return strings.ReplaceAll(text, "s3cret", "***") }}}
	s.publish(&State{
		Problems: []*problem.Problem{p()},
		Objects:  []Object{{Problem: p(), Waiting: "s3cret"}},
		Services: []Service{{Problem: own, Explanation: "s3cret", Build: build, Local: local, Workloads: []Rollout{{Problem: p()}}, Sync: []Sync{{Problem: p()}}}},
	})
	text, err := json.Marshal(s.State())
	if err != nil || strings.Contains(string(text), "s3cret") || strings.Count(string(text), "***") < 20 {
		t.Errorf("%v in %s", err, text)
	}
	if build.Lines[0] != "s3cret" || build.Steps[0].Name != "s3cret" || local.Lines[0] != "s3cret" || own.Summary != "s3cret a" {
		t.Error("the loop's own was changed")
	}
	var told []Notice
	s.OnNotice(func(n Notice) { told = append(told, n) })
	s.tell(Notice{Text: "s3cret", Problem: own})
	if len(told) != 1 || strings.Contains(told[0].Text+told[0].Problem.Error()+told[0].Problem.Output+told[0].Problem.Hint, "s3cret") {
		t.Errorf("told %+v", told)
	}
}

// What has no pods keeps a project from being ready, unless kdev.yaml says otherwise.
func TestTroubles(t *testing.T) {
	bad := &problem.Problem{Code: "x", Summary: "bad"}
	st := &State{Problems: []*problem.Problem{{Code: "own", Summary: "own"}}, Objects: []Object{
		{Kind: "Service", Name: "a", Ready: true, Problem: bad}, {Kind: "Database", Name: "b", Problem: bad}, {Kind: "Database", Name: "c", Ignored: true, Problem: bad}, {Kind: "Database", Name: "d", Waiting: "its controller"},
	}}
	if all := st.Troubles(); len(all) != 2 || all[0].Code != "own" || all[1] != bad || len(st.Problems) != 1 {
		t.Errorf("%v", all)
	}
	if objectsReady(st.Objects) || !objectsReady(st.Objects[:1]) || !objectsReady([]Object{st.Objects[0], st.Objects[2]}) {
		t.Error("what is ready and what is ignored is not to be waited for; all else is")
	}
}
