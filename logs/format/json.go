package format

import (
	"encoding/json"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// appendString writes s as a JSON string exactly as encoding/json does, HTML
// characters escaped, since stern's output is made by it; without allocating.
func appendString(dst, s []byte) []byte { return quote(dst, s, true) }

// quote is appendString, with HTML characters escaped or as they are.
func quote(dst, s []byte, html bool) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		b := s[i]
		if b >= 0x20 && b < utf8.RuneSelf {
			if b != '"' && b != '\\' && (!html || b != '<' && b != '>' && b != '&') {
				i++
				continue
			}
		}
		if b < utf8.RuneSelf {
			dst = append(dst, s[start:i]...)
			switch b {
			case '"', '\\':
				dst = append(dst, '\\', b)
			case '\b':
				dst = append(dst, `\b`...)
			case '\f':
				dst = append(dst, `\f`...)
			case '\n':
				dst = append(dst, `\n`...)
			case '\r':
				dst = append(dst, `\r`...)
			case '\t':
				dst = append(dst, `\t`...)
			default:
				dst = append(dst, `\u00`...)
				dst = append(dst, hexDigits[b>>4], hexDigits[b&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRune(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\ufffd`...)
			i += size
			start = i
		case r == 0x2028 || r == 0x2029:
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\u202`...)
			dst = append(dst, hexDigits[r&15])
			i += size
			start = i
		default:
			i += size
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// escapeControls makes what stands in dst from start on safe for a terminal, as JSON
// allows it: control characters that may stand in a JSON string as they are, and
// bytes that are no text, become escapes; a carriage return between tokens becomes a space.
func escapeControls(dst []byte, start int) []byte {
	var tail []byte // what is written again, from the first such byte on
	for i := start; i < len(dst); {
		b := dst[i]
		size, text := 1, ""
		switch {
		case b == '\r':
			text = " "
		case b == 0x7f:
			text = `\u007f`
		case b >= utf8.RuneSelf:
			var r rune
			r, size = utf8.DecodeRune(dst[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				text = `\ufffd`
			case r < 0xa0:
				text = `\u00` + string([]byte{hexDigits[r>>4&15], hexDigits[r&15]})
			}
		}
		if text != "" && tail == nil {
			tail = make([]byte, 0, len(dst)-i+64)
			start = i
		}
		if text != "" {
			tail = append(tail, text...)
		} else if tail != nil {
			tail = append(tail, dst[i:i+size]...)
		}
		i += size
	}
	if tail == nil {
		return dst
	}
	return append(dst[:start], tail...)
}

// marshal is v as JSON; v is made of strings and maps of strings, which cannot fail.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte("null")
	}
	return b
}
