package term

import (
	"encoding/binary"
	"unicode/utf8"
)

// maxSGR bounds one colour sequence: a 24-bit foreground, background and
// underline colour with attributes fit; a bomb of parameters does not.
const maxSGR = 96

// Reset ends every colour and attribute.
const Reset = "\x1b[0m"

// AppendSafe appends line, which holds no newline, to dst in a form that cannot
// drive a terminal: control sequences other than SGR go, and with keepSGR false
// those too; control characters other than tab become their visible picture
// (U+2400 and up); a carriage return at the end goes; bytes that are not UTF-8
// and C1 controls become U+FFFD; overrides of the writing direction, which could
// reorder what stands before them, go. A colour that the line leaves on is reset
// at its end, so that it cannot run into the next line.
func AppendSafe(dst, line []byte, keepSGR bool) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	open := false
	for len(line) > 0 {
		n := plain(line)
		dst = append(dst, line[:n]...)
		line = line[n:]
		if len(line) == 0 {
			break
		}
		switch c := line[0]; {
		case c == '\t':
			dst = append(dst, c)
			line = line[1:]
		case c == 0x1b:
			size, sgr, resets := sequence(line)
			if sgr && keepSGR {
				dst = append(dst, line[:size]...)
				open = !resets
			}
			line = line[size:]
		case c < 0x20:
			dst = utf8.AppendRune(dst, 0x2400+rune(c))
			line = line[1:]
		case c == 0x7f:
			dst = utf8.AppendRune(dst, 0x2421)
			line = line[1:]
		default:
			r, size := utf8.DecodeRune(line)
			switch {
			case r == utf8.RuneError && size <= 1, r >= 0x80 && r < 0xa0:
				dst = utf8.AppendRune(dst, utf8.RuneError)
			case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x2028, r == 0x2029:
			default:
				dst = append(dst, line[:size]...)
			}
			line = line[size:]
		}
	}
	if open {
		dst = append(dst, Reset...)
	}
	return dst
}

// plain returns how many bytes at the start of b are printable ASCII.
func plain(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		// A byte sets its high bit here when it is below 0x20, or 0x7f, or not ASCII.
		// Borrows and carries only ever report a byte too many, which the loop
		// below looks at again.
		if ((x-0x20*ones)|(x+ones)|x)&highs != 0 {
			break
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < 0x20 || c >= 0x7f {
			break
		}
	}
	return i
}

// ends says whether an SGR sequence leaves nothing on, such as 0 or 0;22;24. In doubt it
// does not: a colour's own numbers may be zero.
func ends(params []byte) bool {
	off, n := len(params) == 0, 0
	for i := 0; i <= len(params) && len(params) > 0; i++ {
		if i < len(params) && params[i] != ';' {
			if params[i] < '0' || params[i] > '9' {
				return false
			}
			n = min(n, 1000)*10 + int(params[i]-'0')
			continue
		}
		switch {
		case n == 0:
			off = true
		case n >= 22 && n <= 29, n == 39, n == 49:
		default:
			return false
		}
		n = 0
	}
	return off
}

// sequence measures the control sequence at the start of b, which begins with
// ESC (ECMA-48 §5.3-5.6). An unfinished string sequence (OSC, DCS, …) counts as its
// introducer only: what follows is text that somebody may want to read.
func sequence(b []byte) (size int, sgr, resets bool) {
	if len(b) < 2 {
		return len(b), false, false
	}
	switch b[1] {
	case '[':
		i := 2
		for i < len(b) && b[i] >= 0x30 && b[i] <= 0x3f {
			i++
		}
		params := b[2:i]
		middle := i
		for i < len(b) && b[i] >= 0x20 && b[i] <= 0x2f {
			i++
		}
		if i == len(b) {
			return i, false, false
		}
		if b[i] < 0x40 || b[i] > 0x7e {
			return i, false, false // broken off by another control: that one is looked at next
		}
		i++
		if b[i-1] != 'm' || middle != i-1 || i > maxSGR {
			return i, false, false
		}
		for _, p := range params {
			if p > ';' { // < = > ? open private sequences
				return i, false, false
			}
		}
		return i, true, ends(params)
	case ']', 'P', 'X', '^', '_':
		for i := 2; i < len(b); i++ {
			if b[i] == 0x07 {
				return i + 1, false, false
			}
			if b[i] == 0x1b {
				if i+1 < len(b) && b[i+1] == '\\' {
					return i + 2, false, false
				}
				break
			}
		}
		return 2, false, false
	}
	i := 1
	for i < len(b) && b[i] >= 0x20 && b[i] <= 0x2f {
		i++
	}
	if i < len(b) && b[i] >= 0x30 && b[i] <= 0x7e {
		i++
	}
	return i, false, false
}
