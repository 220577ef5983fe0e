//go:build !linux && !darwin && !windows

package watch

func openSource(root string, s sink) (source, error) { return openNotify(root, s) }

func deliversEvents(string) (kind string, ok bool) { return "", true }
