package session

import (
	"slices"

	"github.com/kdev-io/kdev/internal/problem"
)

// hide takes what nobody should see out of the words of a snapshot that is not yet
// published: a process prints what it was given, and so does the command of a hook. What
// the snapshot shares with the loop is replaced, not changed.
func (st *State) hide(f func(string) string) {
	of := func(p *problem.Problem) *problem.Problem {
		if p == nil {
			return nil
		}
		return p.Hide(f)
	}
	lines := func(all []string) []string {
		all = slices.Clone(all)
		for i := range all {
			all[i] = f(all[i])
		}
		return all
	}
	for i := range st.Problems {
		st.Problems[i] = of(st.Problems[i])
	}
	for i := range st.Objects {
		o := &st.Objects[i]
		o.Problem, o.Waiting = of(o.Problem), f(o.Waiting)
	}
	for i := range st.Services {
		s := &st.Services[i]
		s.Problem, s.Explanation = of(s.Problem), f(s.Explanation)
		for j := range s.Events {
			s.Events[j].Text = f(s.Events[j].Text)
		}
		for j := range s.Workloads {
			s.Workloads[j].Problem = of(s.Workloads[j].Problem)
		}
		for j := range s.Sync {
			s.Sync[j].Problem = of(s.Sync[j].Problem)
		}
		if s.Build != nil && len(s.Build.Lines)+len(s.Build.Steps) > 0 {
			b := *s.Build
			b.Lines, b.Steps = lines(b.Lines), slices.Clone(b.Steps)
			for j := range b.Steps {
				b.Steps[j].Name = f(b.Steps[j].Name)
			}
			s.Build = &b
		}
		if s.Local != nil && len(s.Local.Lines) > 0 {
			l := *s.Local
			l.Lines = lines(l.Lines)
			s.Local = &l
		}
	}
}
