package term

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendSafe(t *testing.T) {
	for _, tt := range []struct{ name, in, colored, plain string }{
		{"plain", "hello, world 12345", "hello, world 12345", ""},
		{"empty", "", "", ""},
		{"tab", "a\tb", "a\tb", ""},
		{"utf-8", "grüße 世界 🎉", "grüße 世界 🎉", ""},
		{"carriage return at the end", "done\r", "done", ""},
		{"progress", "10%\r20%", "10%␍20%", ""},
		{"closed colour", "\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m", "red"},
		{"open colour", "\x1b[31mred", "\x1b[31mred\x1b[0m", "red"},
		{"short reset", "\x1b[1;31mred\x1b[m!", "\x1b[1;31mred\x1b[m!", "red!"},
		{"off by its parts", "\x1b[31;1mred\x1b[0;22m", "\x1b[31;1mred\x1b[0;22m", "red"},
		{"off, and on again", "a\x1b[0;31mred", "a\x1b[0;31mred\x1b[0m", "ared"},
		{"a colour whose number is 0", "a\x1b[38;5;0mx", "a\x1b[38;5;0mx\x1b[0m", "ax"},
		{"one attribute off", "\x1b[31;1mred\x1b[22mx", "\x1b[31;1mred\x1b[22mx\x1b[0m", "redx"},
		{"true colour", "\x1b[38:2::1:2:3mx\x1b[0m", "\x1b[38:2::1:2:3mx\x1b[0m", "x"},
		{"cursor", "a\x1b[2Jb\x1b[1;1Hc\x1b[?25ld", "abcd", ""},
		{"private m", "a\x1b[>4;1mb", "ab", ""},
		{"m with intermediate", "a\x1b[1 mb", "ab", ""},
		{"title", "a\x1b]0;evil\x07b", "ab", ""},
		{"link", "\x1b]8;;http://x\x1b\\text\x1b]8;;\x1b\\", "text", ""},
		{"clipboard", "\x1b]52;c;aGk=\x07x", "x", ""},
		{"unfinished string shows its text", "a\x1b]0;evil", "a0;evil", ""},
		{"string broken by a sequence", "a\x1b]0;evil\x1b[31mb", "a0;evil\x1b[31mb\x1b[0m", "a0;evilb"},
		{"charset", "a\x1b(0b", "ab", ""},
		{"reset terminal", "a\x1bcb", "ab", ""},
		{"lone escape", "a\x1b", "a", ""},
		{"unfinished csi", "a\x1b[31", "a", ""},
		{"csi broken by control", "a\x1b[3\x07b", "a␇b", ""},
		{"bell and backspace", "a\x07\x08b\x7f", "a␇␈b␡", ""},
		{"nul", "\x00", "␀", ""},
		{"c1 csi", "a\xc2\x9b31mb", "a\ufffd31mb", ""},
		{"raw c1", "a\x9b31mb", "a\ufffd31mb", ""},
		{"direction override", "a\u202eb", "ab", ""},
		{"line separator", "a\u2028b", "ab", ""},
		{"long sgr", "\x1b[" + strings.Repeat("1;", 100) + "mx", "x", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(AppendSafe(nil, []byte(tt.in), true)); got != tt.colored {
				t.Errorf("with colour: %q, want %q", got, tt.colored)
			}
			want := tt.plain
			if want == "" {
				want = tt.colored
			}
			if got := string(AppendSafe(nil, []byte(tt.in), false)); got != want {
				t.Errorf("without colour: %q, want %q", got, want)
			}
		})
	}
}

// FuzzAppendSafe: whatever goes in, a terminal sees text and SGR only.
func FuzzAppendSafe(f *testing.F) {
	for _, s := range []string{"", "a\x1b[31mb", "\x1b]0;x\x07", "\x1b[1;1H", "\x9b2J", "\xc2\x9b2J", "a\rb\r", "\x1bP1$r\x1b\\", "\x1b\x1b[m"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, keep := range []bool{true, false} {
			out := AppendSafe([]byte("› "), in, keep)[len("› "):]
			if !utf8.Valid(out) {
				t.Fatalf("%q gives %q: not UTF-8", in, out)
			}
			left := out
			for len(left) > 0 {
				if left[0] == 0x1b {
					size, sgr, _ := sequence(left)
					if !sgr || !keep || size > maxSGR {
						t.Fatalf("%q gives %q: a sequence that is no colour", in, out)
					}
					left = left[size:]
					continue
				}
				r, size := utf8.DecodeRune(left)
				if r != '\t' && (r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0) {
					t.Fatalf("%q gives %q: control character %U", in, out, r)
				}
				left = left[size:]
			}
			if keep {
				if again := AppendSafe(nil, out, true); string(again) != string(out) {
					t.Fatalf("%q gives %q, then %q", in, out, again)
				}
			}
		}
	})
}

func BenchmarkAppendSafe(b *testing.B) {
	line := []byte(strings.Repeat("GET /index.html 200 ", 6))
	dst := make([]byte, 0, 256)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendSafe(dst[:0], line, true)
	}
}
