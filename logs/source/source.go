package source

import (
	"context"
	"io"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kdev-io/kdev/logs/store"
)

// An Opener opens the log of a container as the API serves it.
type Opener interface {
	Open(ctx context.Context, namespace, pod string, opts *corev1.PodLogOptions) (io.ReadCloser, error)
}

// API opens logs through a client. Its rate limiter should be off (QPS -1): fifty
// containers would otherwise take eight seconds to open.
func API(client kubernetes.Interface) Opener { return api{client} }

type api struct{ client kubernetes.Interface }

func (a api) Open(ctx context.Context, namespace, pod string, opts *corev1.PodLogOptions) (io.ReadCloser, error) {
	return a.client.CoreV1().Pods(namespace).GetLogs(pod, opts).Stream(ctx)
}

// Hooks are called from the reader's goroutine.
type Hooks struct {
	// Lines may change lines in place before others see them: masking, levels.
	Lines func(lines []store.Line, data []byte)
	// Notice reports what a person should know of this source.
	Notice func(Notice)
}

func (h Hooks) notice(n Notice) {
	if h.Notice != nil {
		h.Notice(n)
	}
}

// A Notice is something to tell about a source that is not a log line.
type Notice struct {
	Kind NoticeKind
	Text string
	Err  error
}

// NoticeKind says what happened.
type NoticeKind string

// What happens to a source.
const (
	Opened    NoticeKind = "opened"    // its first line can come
	Ended     NoticeKind = "ended"     // nothing more will come
	Restarted NoticeKind = "restarted" // the container runs again
	Retrying  NoticeKind = "retrying"  // it cannot be read; Err says why
	Denied    NoticeKind = "denied"    // the user may not read it
	Explained NoticeKind = "explained" // the kubelet said something that needs words
	Waiting   NoticeKind = "waiting"   // too many streams are open
)

// ReadPlain appends the lines of a stream that has no times before them, until it
// ends.
func ReadPlain(ctx context.Context, st *store.Store, src *store.Source, r io.Reader, hooks Hooks) error {
	in := ingest{app: st.Appender(src), hooks: hooks}
	defer in.app.Close()
	if err := in.read(ctx, r); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	return in.end(ctx)
}
