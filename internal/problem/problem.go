// Package problem is the one form in which kdev reports what went wrong.
//
// In: what failed, where, the cause with a command's output, one hint.
// Out: an error whose text a person can act on and whose Code a program can
// match. It never prints and never decides what happens next. Invariant: a
// Problem has a Code and a Summary.
package problem

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Class says which exit code a problem ends the process with.
type Class int

const (
	Failed  Class = 1 // something did not work
	Usage   Class = 2 // wrong usage or wrong configuration
	Rollout Class = 3 // the cluster did not accept or did not start what was deployed
	Timeout Class = 4 // it did not happen in time
)

// A Problem is an error for a person. Every field but Code and Summary may be empty.
type Problem struct {
	Class   Class  // zero means Failed
	Code    string // stable, kebab-case, documented in docs/errors.md: "config-unknown-key"
	Summary string // one line, lower case, no full stop: what failed
	Where   string // "kdev.yaml:12" or "Deployment/webui spec.template.spec.containers[0].image"
	Output  string // the end of the failing command's output, as it was
	Hint    string // one thing to do that works
	Err     error  // the cause
}

// Error is one line: where, what, cause.
func (p *Problem) Error() string {
	var b strings.Builder
	if p.Where != "" {
		b.WriteString(p.Where + ": ")
	}
	b.WriteString(p.Summary)
	if p.Err != nil {
		fmt.Fprintf(&b, ": %v", p.Err)
	}
	return b.String()
}

func (p *Problem) Unwrap() error { return p.Err }

// ExitCode is the process's exit code for this problem.
func (p *Problem) ExitCode() int {
	if p.Class == 0 {
		return int(Failed)
	}
	return int(p.Class)
}

// Page is the page of this repository that explains a code; where several do, the first by
// name. Without one it is the folder of them all.
func Page(code string) string {
	for line := range strings.Lines(pages) {
		if name, codes, ok := strings.Cut(strings.TrimSpace(line), " "); ok && slices.Contains(strings.Fields(codes), code) {
			return "docs/errors/" + name + ".md"
		}
	}
	return "docs/errors"
}

// Hide is a copy of p with hide applied to every text of it that a person sees. What the
// cause is can still be asked for.
func (p *Problem) Hide(hide func(string) string) *Problem {
	c := *p
	c.Summary, c.Where, c.Output, c.Hint = hide(p.Summary), hide(p.Where), hide(p.Output), hide(p.Hint)
	if p.Err != nil {
		c.Err = Reworded(p.Err, hide(p.Err.Error()))
	}
	return &c
}

// Reworded is err with another text.
func Reworded(err error, text string) error {
	if text == err.Error() {
		return err
	}
	return reworded{err, text}
}

type reworded struct {
	error
	text string
}

func (r reworded) Error() string { return r.text }
func (r reworded) Unwrap() error { return r.error }

// As returns the outermost Problem in err's chain, or nil.
func As(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	return nil
}

// wire is the JSON form: what faces and the control socket show of a Problem.
type wire struct {
	Class   Class    `json:"class,omitempty"`
	Code    string   `json:"code"`
	Summary string   `json:"summary"`
	Where   string   `json:"where,omitempty"`
	Lines   []string `json:"lines,omitempty"`
	Hint    string   `json:"hint,omitempty"`
}

// MarshalJSON writes {code, summary, where, lines, hint}; the cause is part of
// the summary, and lines are the output.
func (p *Problem) MarshalJSON() ([]byte, error) {
	w := wire{Class: p.Class, Code: p.Code, Summary: p.Summary, Where: p.Where, Hint: p.Hint}
	if p.Err != nil {
		w.Summary += ": " + p.Err.Error()
	}
	if out := strings.TrimRight(p.Output, "\n"); out != "" {
		w.Lines = strings.Split(out, "\n")
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (p *Problem) UnmarshalJSON(b []byte) error {
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*p = Problem{Class: w.Class, Code: w.Code, Summary: w.Summary, Where: w.Where, Hint: w.Hint, Output: strings.Join(w.Lines, "\n")}
	return nil
}
