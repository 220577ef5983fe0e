package build

import (
	"context"
	"errors"
	"syscall"

	"github.com/kdev-io/kdev/internal/problem"
)

// explained turns what any step of a build may run into into a problem.
func explained(inner Builder) Builder { return &explainer{inner} }

type explainer struct{ inner Builder }

func (e *explainer) Build(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
	r, err := e.inner.Build(ctx, spec, progress)
	if err != nil && problem.As(err) == nil && errors.Is(err, syscall.ENOSPC) {
		return nil, &problem.Problem{
			Code: "store-full", Summary: "the disk that holds the image store is full", Err: err,
			Hint: "run `kdev registry gc`, or free space on that disk",
		}
	}
	return r, err
}
