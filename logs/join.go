package logs

import (
	"time"

	"github.com/kdev-io/kdev/logs/filter"
	"github.com/kdev-io/kdev/logs/store"
)

// joinWithin is how long a record waits for a line that continues it.
const joinWithin = 100 * time.Millisecond

// A joiner makes one line with newlines of the lines of a record, for outputs that
// write an object for each record.
type joiner struct {
	emit    filter.Emit
	sources []*joining
	waiting []*joining // with a record, the oldest first
	now     func() time.Time
}

// joining is the record of one source that is not over yet.
type joining struct {
	src   *store.Source
	line  store.Line
	text  []byte
	since time.Time
	open  bool
}

func (j *joiner) push(src *store.Source, l store.Line, msg []byte) {
	for src.ID >= len(j.sources) {
		j.sources = append(j.sources, nil)
	}
	s := j.sources[src.ID]
	if s == nil {
		s = &joining{src: src}
		j.sources[src.ID] = s
	}
	if s.open && l.Flags&store.Continues != 0 && len(s.text)+len(msg) < 1<<20 {
		s.text = append(append(s.text, '\n'), msg...)
		s.line.Level = max(s.line.Level, l.Level)
		s.since = j.now()
		return
	}
	if s.open {
		j.emit(s.src, s.line, s.text)
	} else {
		j.waiting = append(j.waiting, s)
	}
	s.line, s.text, s.since, s.open = l, append(s.text[:0], msg...), j.now(), true
	s.line.Flags &^= store.Continues
}

// flush emits records that waited long enough, or all.
func (j *joiner) flush(all bool) {
	now := j.now()
	left := j.waiting[:0]
	for _, s := range j.waiting {
		if !all && now.Sub(s.since) < joinWithin {
			left = append(left, s)
			continue
		}
		s.open = false
		j.emit(s.src, s.line, s.text)
	}
	clear(j.waiting[len(left):])
	j.waiting = left
}

// due is when flush has something to do; 0 for nothing.
func (j *joiner) due() time.Duration {
	if len(j.waiting) == 0 {
		return 0
	}
	first := j.waiting[0].since
	for _, s := range j.waiting {
		if s.since.Before(first) {
			first = s.since
		}
	}
	return max(joinWithin-j.now().Sub(first), time.Millisecond)
}
