package config

import (
	"fmt"
	"strings"

	"github.com/kdev-io/kdev/internal/problem"
)

// Problems is everything that is wrong with a configuration, in the order of
// its files and lines. problem.As gives the first of them.
type Problems []*problem.Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As and errors.Is reach each problem.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

// A position is a line of a file; the file's name is relative to the root.
type position struct {
	file string
	line int
}

func (p position) String() string {
	if p.line == 0 {
		return p.file
	}
	return fmt.Sprintf("%s:%d", p.file, p.line)
}

func usage(code string, at position, hint, format string, args ...any) *problem.Problem {
	return &problem.Problem{
		Class:   problem.Usage,
		Code:    code,
		Summary: fmt.Sprintf(format, args...),
		Where:   at.String(),
		Hint:    hint,
	}
}
