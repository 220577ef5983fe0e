package format

import (
	"fmt"
	"time"
)

// Layouts of --timestamps.
const (
	layoutDefault = "2006-01-02T15:04:05.000000000Z07:00" // RFC 3339, nine digits
	layoutShort   = "01-02 15:04:05"
	layoutMillis  = "15:04:05.000"
)

// A clock writes times of lines. Consecutive lines share their second, so all but
// the fraction is kept from the last one.
type clock struct {
	style string // "", default, short, ms, delta
	loc   *time.Location

	second int64
	before []byte // text of the second up to the fraction
	after  []byte // text behind it: the zone
	last   int64  // of the line before, for delta
}

func newClock(style string, loc *time.Location) (clock, error) {
	if loc == nil {
		loc = time.Local
	}
	switch style {
	case "", "default", "short", "ms", "delta":
		return clock{style: style, loc: loc, second: -1 << 62}, nil
	}
	return clock{}, fmt.Errorf("timestamps should be one of 'default', 'short', 'ms' or 'delta', not %q", style)
}

// append writes the time; nothing without a style.
func (c *clock) append(dst []byte, ns int64) []byte {
	switch c.style {
	case "":
		return dst
	case "delta":
		d := time.Duration(ns - c.last)
		if c.last == 0 {
			d = 0
		}
		c.last = ns
		return fmt.Appendf(dst, "%+9.3fs", d.Seconds())
	}
	sec, frac := ns/1e9, ns%1e9
	if frac < 0 {
		sec, frac = sec-1, frac+1e9
	}
	if sec != c.second {
		c.learn(sec)
	}
	dst = append(dst, c.before...)
	switch c.style {
	case "default":
		dst = digits(dst, frac, 100_000_000)
	case "ms":
		dst = digits(dst, frac/1_000_000, 100)
	}
	return append(dst, c.after...)
}

func (c *clock) learn(sec int64) {
	t := time.Unix(sec, 0).In(c.loc)
	c.second = sec
	c.before, c.after = c.before[:0], c.after[:0]
	switch c.style {
	case "default":
		c.before = t.AppendFormat(c.before, "2006-01-02T15:04:05.")
		c.after = t.AppendFormat(c.after, "Z07:00")
	case "short":
		c.before = t.AppendFormat(c.before, layoutShort)
	case "ms":
		c.before = t.AppendFormat(c.before, "15:04:05.")
	}
}

// digits writes n with leading zeros; scale is the weight of the first digit.
func digits(dst []byte, n, scale int64) []byte {
	for ; scale > 0; scale /= 10 {
		dst = append(dst, byte('0'+n/scale%10))
	}
	return dst
}
