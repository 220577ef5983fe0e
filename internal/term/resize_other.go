//go:build !unix

package term

// onResize knows no signal here: the size stays as it was at the start.
func onResize(func()) (stop func()) { return func() {} }
