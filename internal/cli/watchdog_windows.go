package cli

// watchTerminal does nothing: a console of Windows is its program's own, and
// its modes are put back with the last handle to it.
func watchTerminal(_, _ any, _ func(string) string) (release func()) { return func() {} }
