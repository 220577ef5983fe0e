package logs

import "github.com/kdev-io/kdev/logs/store"

// prepare changes lines before anybody sees them.
func (h *Hub) prepare(lines []store.Line, data []byte) {
	if h.opts.Mask != nil {
		h.opts.Mask.apply(lines, data)
	}
}
