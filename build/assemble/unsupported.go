package assemble

import "errors"

// An Unsupported is a step that only an engine can do.
type Unsupported struct {
	What string
	Line int // in the Dockerfile; 0: unknown
}

func (u *Unsupported) Error() string { return u.What }

func unsupported(what string) error { return &Unsupported{What: what} }

// IsUnsupported says whether the engine has to do it.
func IsUnsupported(err error) (*Unsupported, bool) {
	var u *Unsupported
	ok := errors.As(err, &u)
	return u, ok
}
