package logs

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
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
// hidden line by line, and of lines such as KEY=value what stands behind the sign
// is hidden by itself too. The forms in which programs print a value are hidden
// with it: base64, as `kubectl get secret -o yaml` has it, inside a JSON string, in
// a URL.
func (m *Mask) Set(values []string) {
	var out [][]byte
	add := func(v string) {
		if v = strings.TrimSpace(v); len(v) >= minSecret && !slices.Contains(common, v) {
			out = append(out, []byte(v))
		}
	}
	for _, v := range values {
		for line := range strings.SplitSeq(v, "\n") {
			add(line)
			for _, form := range written(strings.TrimSpace(line)) {
				add(form)
			}
			if u, err := url.Parse(strings.TrimSpace(line)); err == nil && u.User != nil {
				// A program that connects with it says the password by itself.
				if password, ok := u.User.Password(); ok {
					add(password)
				}
			}
			if _, part, ok := strings.Cut(line, "="); ok && strings.Contains(v, "\n") {
				add(strings.Trim(strings.TrimSpace(part), `"'`))
			}
		}
		if len(v) >= minSecret {
			add(base64.StdEncoding.EncodeToString([]byte(v)))
			for _, form := range inBase64(v) {
				add(form)
			}
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

// common are values that hide nothing and stand in every second line.
var common = []string{"false", "default", "localhost", "127.0.0.1", "0.0.0.0"}

// inBase64 are the letters that stand for v wherever it is inside longer text that
// is encoded: behind a user's name in an Authorization header, in front of the newline
// of `echo`. They depend on where v begins in its group of three bytes. The letters at
// the edges hold bits of the neighbours and stay; they say at most a byte of v.
func inBase64(v string) []string {
	var forms []string
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			text := enc.EncodeToString(append(make([]byte, before), v...))
			from, to := (before*8+5)/6, (before+len(v))*8/6
			if to-from >= minSecret {
				forms = append(forms, text[from:to])
			}
		}
	}
	return forms
}

// written are the forms of a value inside other text.
func written(v string) []string {
	var forms []string
	if quoted, err := json.Marshal(v); err == nil {
		forms = append(forms, string(quoted[1:len(quoted)-1]))
	}
	for _, quoted := range []string{strconv.Quote(v), strconv.QuoteToASCII(v)} {
		forms = append(forms, quoted[1:len(quoted)-1])
	}
	return append(forms, url.QueryEscape(v), url.PathEscape(v), url.UserPassword("", v).String()[1:])
}

// String hides the values in a text.
func (m *Mask) String(text string) string {
	values := m.values.Load()
	if values == nil {
		return text
	}
	for _, v := range *values {
		text = strings.ReplaceAll(text, string(v), masked)
	}
	return text
}

// Bytes hides the values in a line, in place.
func (m *Mask) Bytes(line []byte) []byte {
	if values := m.values.Load(); values != nil {
		for _, v := range *values {
			line = hide(line, v)
		}
	}
	return line
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
