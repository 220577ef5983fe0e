package source

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/kdev-io/kdev/logs/store"
)

// An Early reads what a new container writes before the API serves its log. A kubelet
// serves no log of a container that its own status does not know yet, and looks for
// new ones once a second (genericPlegRelistPeriod in pkg/kubelet/kubelet.go): up to
// that time a first line is on the node's disk, and nobody sees it. The file itself can
// be had from the kubelet's /logs/ through the API server's proxy, by those who may get
// nodes/proxy; for others, and for runtimes with files of another form, nothing changes.
type Early struct {
	client kubernetes.Interface
	pace   flowcontrol.RateLimiter
	off    atomic.Bool
}

// earlyRate bounds how many files are asked for in a second, over all containers.
const earlyRate = 100

// NewEarly reads early from the nodes of a cluster. It is meant for clusters on this
// machine: each container that is being started costs some requests.
func NewEarly(client kubernetes.Interface) *Early {
	return &Early{client: client, pace: flowcontrol.NewTokenBucketRateLimiter(earlyRate, earlyRate/4)}
}

// earlyBytes is how much of a file is read at a time.
const earlyBytes = 64 << 10

// read returns what the file of a container's first run holds from an offset on; nothing
// where there is no file yet, or no more in it.
func (e *Early) read(ctx context.Context, src *store.Source, from int64) ([]byte, error) {
	if err := e.pace.Wait(ctx); err != nil {
		return nil, err
	}
	// The folder's name is the kubelet's: BuildPodLogsDirectory in pkg/kubelet/kuberuntime.
	b, err := e.client.CoreV1().RESTClient().Get().Resource("nodes").Name(src.Node).SubResource("proxy").
		Suffix("logs", "pods", src.Namespace+"_"+src.Pod+"_"+src.PodUID, src.Container, "0.log").
		SetHeader("Range", fmt.Sprintf("bytes=%d-%d", from, from+earlyBytes-1)).DoRaw(ctx)
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsMethodNotSupported(err) {
		e.off.Store(true) // nobody needs to know: the log comes a moment later
	}
	if err != nil {
		return nil, ctx.Err() // not there yet, or nothing behind the offset
	}
	return b, nil
}

// How long to wait between two looks at a file that is not there yet: at first as for a
// container that starts at once, then as for one whose image is being pulled.
const (
	earlyFirst = 40 * time.Millisecond
	earlyLast  = 250 * time.Millisecond
	earlyTries = 1000 // some four minutes: an image that is not there then is not our matter
)

// early passes on what the container's first run has written, until its status says
// something new. What it passed on is remembered as any line is, so that the stream that
// is opened then goes on behind it.
func (r *Reader) early(ctx context.Context, changed <-chan struct{}) {
	for ; ctx.Err() == nil && !r.earlyEnd && r.earlyTried < earlyTries && !r.opts.Early.off.Load(); r.earlyTried++ {
		data, err := r.opts.Early.read(ctx, r.src, r.earlyAt)
		if err != nil {
			break
		}
		lines, used, whole := criLines(nil, data)
		r.earlyAt += int64(used)
		r.earlyEnd = !whole
		if len(lines) > 0 {
			r.earlyWait = 0
			r.open()
			r.in.begin(nil)
			r.in.app.Grow(copy(r.in.app.Free(len(lines)), lines))
			r.in.split()
			if r.in.commit(ctx) != nil {
				return
			}
			continue
		}
		r.earlyWait = min(max(earlyFirst, r.earlyWait+r.earlyWait/16), earlyLast)
		timer := time.NewTimer(r.earlyWait)
		select {
		case <-timer.C:
		case <-changed:
			timer.Stop()
			return
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
	r.waitFor(ctx, changed)
}

// criLines turns lines as a runtime writes them (time, stream, F or P, text) into those
// that the API makes of them (time, text), and says how many bytes it used. It stops in
// front of a line that is not complete, and for good (whole is false) at one that was cut
// into parts, or is of another form: the API puts such together.
func criLines(dst, data []byte) (lines []byte, used int, whole bool) {
	for {
		line, _, complete := bytes.Cut(data[used:], []byte("\n"))
		if !complete {
			return dst, used, len(line) < earlyBytes
		}
		stamp, rest, _ := bytes.Cut(line, []byte(" "))
		stream, rest, _ := bytes.Cut(rest, []byte(" "))
		tag, text, _ := bytes.Cut(rest, []byte(" "))
		if string(tag) != "F" || string(stream) != "stdout" && string(stream) != "stderr" {
			return dst, used, false
		}
		dst = append(append(append(append(dst, stamp...), ' '), text...), '\n')
		used += len(line) + 1
	}
}
