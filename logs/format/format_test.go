package format

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/kdev-io/kdev/logs/store"
)

// templates use every function on the message.
var templates = []string{
	"{{.Message}}\n",
	"{{json .}}\n{{json .Message}}\n",
	"{{with $d := tryParseJSON .Message}}{{range $k, $v := $d}}{{$k}}={{$v}} {{levelColor $v}} {{bunyanLevelColor $v}} {{toUTC $v}} {{toRFC3339Nano $v}}{{end}}{{else}}{{.Message}}{{end}}\n",
	"{{with parseJSON .Message}}{{.msg}}{{end}}\n",
	"{{prettyJSON .Message}}{{extjson .Message}}{{tryExtractJSONParts .Message \"a\" \"b\"}}{{extractJSONParts .Message \"a\"}}\n",
	"{{color .PodColor .PodName}} {{colorRed .Message}} {{colorCustom .Message 38 5 1}} {{levelColor .Message}}\n",
	"{{toTimestamp .Message \"15:04\" .Message}}{{toUTC .Message}}\n",
	"{{.Message}}",
}

// FuzzOutput: whatever a container writes, each output is made without a panic, no control
// sequence but colours comes through to a terminal, and what is to be JSON is.
func FuzzOutput(f *testing.F) {
	for _, s := range []string{"", "GET / 200", `{"level":"info","a":1,"b":[{}]}`, `{"level":30,"time":1700000000.5}`, "\x1b[31mred\x1b[0m", "\x1b]0;title\x07\x1b[2J", "\xff\xfe\x9b1A", "tab\tand\rreturn", "\u2028\u0085 \"quoted\" \\", "1700000000", "a\nb\n"} {
		f.Add([]byte(s), uint8(0))
	}
	src := &store.Source{Namespace: "default", Pod: "web-1", Container: "web", Node: "node-1", Labels: map[string]string{"app": "web"}}
	at := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC).UnixNano()
	f.Fuzz(func(t *testing.T, msg []byte, flags uint8) {
		line := store.Line{Time: at, Level: flags % 7, Flags: store.Flags(flags)}
		before := bytes.Clone(msg)
		for _, output := range Outputs() {
			for _, o := range []Options{{Output: output}, {Output: output, Color: true, Safe: true, Timestamps: "short"}, {Output: output, Safe: true, Namespace: true, Cluster: true}} {
				fm, err := New(o)
				if err != nil {
					t.Fatal(err)
				}
				out := fm.Append([]byte("x"), src, line, msg)
				if out[0] != 'x' || out[len(out)-1] != '\n' {
					t.Fatalf("%s of %q is %q", output, msg, out)
				}
				if o.Safe {
					terminal(t, msg, out)
				}
				if strings.Contains(output, "json") && !json.Valid(out[1:]) {
					t.Fatalf("%s of %q is %q: no JSON", output, msg, out[1:])
				}
			}
		}
		for _, text := range templates {
			for _, colored := range []bool{true, false} {
				fm, err := New(Options{Template: text, Color: colored, Safe: true})
				if err != nil {
					t.Fatal(err)
				}
				terminal(t, msg, fm.Append(nil, src, line, msg))
			}
		}
		if !bytes.Equal(before, msg) {
			t.Fatalf("the message %q became %q", before, msg)
		}
	})
}

// terminal fails the test where a terminal would get more than text and colours.
func terminal(t *testing.T, in, out []byte) {
	t.Helper()
	for left := out; len(left) > 0; {
		if left[0] == 0x1b {
			end := 1
			if end < len(left) && left[end] == '[' {
				for end++; end < len(left) && (left[end] >= '0' && left[end] <= '9' || left[end] == ';' || left[end] == ':'); end++ {
				}
			}
			if end >= len(left) || end < 2 || left[end] != 'm' {
				t.Fatalf("%q gives %q: a sequence that is no colour", in, out)
			}
			left = left[end+1:]
			continue
		}
		r, size := utf8.DecodeRune(left)
		if r != '\t' && r != '\n' && (r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0) {
			t.Fatalf("%q gives %q: control character %U", in, out, r)
		}
		left = left[size:]
	}
}

// What is read aloud names the container alone, and kdev's own text nothing.
func TestSpoken(t *testing.T) {
	fm, err := New(Options{Spoken: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for i, src := range []store.Source{{Namespace: "shop", Pod: "web-5d9c7bd6f8-x2x4j", Container: "web"}, {Kind: store.Local, Name: "local/docs"}, {Kind: store.Local}} {
		src.ID = i
		got = fm.Append(got, &src, store.Line{}, []byte("up"))
	}
	if want := "web: up\nlocal/docs: up\nup\n"; string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
}
