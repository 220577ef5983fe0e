package agent

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/kdev-io/kdev/sync/protocol"
)

var (
	errBadPath  = errors.New("not a path below the root")
	errInTheWay = errors.New("a directory is in the way")
	errCorrupt  = errors.New("the content is not what was announced")
	errAborted  = errors.New("the local file changed while it was read")
)

// mismatch says that a path holds something else than kdev thought.
type mismatch struct{ actual protocol.File }

func (*mismatch) Error() string { return "changed in the container" }

func codeOf(err error) protocol.Code {
	var m *mismatch
	switch {
	case errors.As(err, &m):
		return protocol.Mismatch
	case errors.Is(err, errBadPath):
		return protocol.BadPath
	case errors.Is(err, errCorrupt):
		return protocol.Corrupt
	case errors.Is(err, errAborted):
		return protocol.Aborted
	case errors.Is(err, syscall.EROFS):
		return protocol.ReadOnly
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return protocol.Full
	case errors.Is(err, fs.ErrPermission):
		return protocol.Denied
	case errors.Is(err, syscall.ELOOP), escapes(err):
		return protocol.Escapes
	case errors.Is(err, errInTheWay), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR),
		errors.Is(err, syscall.ENOTEMPTY), errors.Is(err, fs.ErrExist):
		return protocol.InTheWay
	}
	return protocol.Failed
}

// escapes recognises os.Root's refusal, which has no exported value (go.dev/issue/67002).
func escapes(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p) && p.Err != nil && p.Err.Error() == "path escapes from parent"
}

// textOf is the cause alone: kdev knows the path.
func textOf(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Op + ": " + p.Err.Error()
	}
	return err.Error()
}
