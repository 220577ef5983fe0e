package logs

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/kdev-io/kdev/logs/store"
)

// masked stands in the place of a hidden value.
const masked = "***"

// minSecret is the shortest value that is hidden. Shorter ones, such as "root" or
// "1234", stand in lines for other reasons too often, and hide nothing.
const minSecret = 5

// A Mask hides values. It may be changed while it is used.
type Mask struct {
	values atomic.Pointer[[][]byte] // longest first
}

// Set replaces the values: of the project's Secrets. A value of several lines is
// hidden line by line; the base64 form is hidden too, since that is what
// `kubectl get secret -o yaml` and many programs print.
func (m *Mask) Set(values []string) {
	var out [][]byte
	add := func(v string) {
		if v = strings.TrimSpace(v); len(v) >= minSecret {
			out = append(out, []byte(v))
		}
	}
	for _, v := range values {
		for line := range strings.SplitSeq(v, "\n") {
			add(line)
		}
		if len(v) >= minSecret {
			add(base64.StdEncoding.EncodeToString([]byte(v)))
		}
	}
	// A value that holds another one has to go first, or half of it would stay.
	slices.SortFunc(out, func(a, b []byte) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return bytes.Compare(a, b)
	})
	out = slices.CompactFunc(out, bytes.Equal)
	m.values.Store(&out)
}

// apply hides the values in lines that follow each other in data.
func (m *Mask) apply(lines []store.Line, data []byte) {
	values := m.values.Load()
	if values == nil || len(lines) == 0 {
		return
	}
	first, last := lines[0], lines[len(lines)-1]
	all := data[first.Off : last.Off+last.Len]
	for _, v := range *values {
		// One search over the whole batch: most hold no secret at all.
		if !bytes.Contains(all, v) {
			continue
		}
		for i := range lines {
			l := &lines[i]
			l.Len = uint32(len(hide(data[l.Off:l.Off+l.Len], v)))
		}
	}
}

// hide replaces v in line, in place: what stands for it is never longer.
func hide(line, v []byte) []byte {
	out := line[:0]
	for {
		at := bytes.Index(line, v)
		if at < 0 {
			return append(out, line...)
		}
		out = append(out, line[:at]...)
		out = append(out, masked...)
		line = line[at+len(v):]
	}
}
