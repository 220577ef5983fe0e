package level

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// testdata/corpus.txt holds lines of many programs and loggers, each behind the level
// that a person reads in it ("-" for none) and the name of its format.
func TestDetectOnTheCorpus(t *testing.T) {
	f, err := os.Open("testdata/corpus.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	formats := map[string]bool{}
	lines, wrong := 0, 0
	for s := bufio.NewScanner(f); s.Scan(); {
		if s.Text() == "" || strings.HasPrefix(s.Text(), "# ") {
			continue
		}
		parts := strings.SplitN(s.Text(), " ", 3)
		if len(parts) != 3 {
			t.Fatalf("%q has no level, format and line", s.Text())
		}
		want := Unknown
		if parts[0] != "-" {
			if want, err = Parse(parts[0]); err != nil {
				t.Fatal(err)
			}
		}
		line := strings.NewReplacer(`\t`, "\t", `\e`, "\x1b").Replace(parts[2])
		formats[parts[1]] = true
		lines++
		if got := Detect([]byte(line)); got != want {
			wrong++
			t.Logf("%s: %q is %q, not %q", parts[1], line, want, got)
		}
	}
	if len(formats) < 20 {
		t.Errorf("only %d formats", len(formats))
	}
	if right := 100 * float64(lines-wrong) / float64(lines); right < 95 {
		t.Errorf("%.1f %% of %d lines are right", right, lines)
	} else {
		t.Logf("%.1f %% of %d lines of %d formats are right", right, lines, len(formats))
	}
}

func TestDetectNamesOfFewLoggers(t *testing.T) {
	for line, want := range map[string]Level{
		`{"level":"INFO+2","msg":"slog between two levels"}`: Info,
		`{"level":"DEBUG-4","msg":"slog"}`:                   Debug,
		`{"lvl":"dbug","msg":"log15"}`:                       Debug,
		`{"lvl":"eror","msg":"log15"}`:                       Error,
		`msg="hello level=debug x" level=error`:              Error,
		`msg="level=error inside" level=info`:                Info,
		`msg="she said \"level=debug\" twice" level=warn`:    Warn,
		`{"@timestamp":"2026-11-21T03:49:17Z","log":{"logger":"x","level":"error"},"message":"ECS nested"}`: Error,
		`{"log":{"level":"warn","origin":{"level":"debug"}},"message":"ECS nested"}`:                        Warn,
		`{"log":{"origin":{"level":"debug"}},"message":"somebody else's"}`:                                  Unknown,
		`{"log":{"file":"x"},"level":"error"}`:                                                              Error,
		`{"http":{"level":"error"},"message":"x"}`:                                                          Unknown,
		`{"log":{"origin":{"file":{"line":3}},"logger":"x","level":"error"},"message":"ECS nested"}`:        Error,
		`{"severityNumber":17,"body":"OpenTelemetry"}`:                                                      Error,
		`{"severityNumber":0}`:                                         Unknown,
		`{"levelno":40,"message":"python"}`:                            Error,
		`{"level_value":40000,"message":"logback"}`:                    Error,
		"\x1b[41m\x1b[30mfail\x1b[39m\x1b[22m\x1b[49m: Shop.Orders[0]": Error,
		`{"PRIORITY":"3","MESSAGE":"journald"}`:                        Error,
		`{"PRIORITY":"30","MESSAGE":"no severity"}`:                    Unknown,
		"fail: Shop.Orders[0]":                                         Error,
		"trce: Shop.Orders[0]":                                         Trace,
		"crit: Shop.Orders[0]":                                         Fatal,
		"failure: not so":                                              Unknown,
		"<165>1 2026-11-21T03:49:17Z host app - - - x":                 Info,
		"<11>Nov 21 03:49:17 host app[7]: x":                           Error,
		"<34>1 2026-11-21T03:49:17Z host app - - - x":                  Fatal,
		"<7>sd-daemon":                                                 Debug,
		"<8>nothing":                                                   Unknown,
		"<14>Nov 21 03:49:17 host app: ERROR boom":                     Error,
		"<11>Nov 21 03:49:17 host app: INFO boom":                      Error,
		`<14>1 2026-11-21T03:49:17Z host app - - - level=error`:        Error,
		`{"PRIORITY":"6","level":"error"}`:                             Error,
		`{"PRIORITY":16}`:                                              Unknown,
		`{"PRIORITY":3}`:                                               Error,
		"<b>bold</b>":                                                  Unknown,
		"<200>1 too high":                                              Unknown,
		"<3":                                                           Unknown,
		"thread 'main' panicked at src/main.rs:2:5:":                   Fatal,
		"thread 'main' (4711) panicked at src/a.rs:2:5:":               Fatal,
		"thread 'main' has panicked before":                            Unknown,
	} {
		if got := Detect([]byte(line)); got != want {
			t.Errorf("%s is %q, not %q", line, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]Level{"error": Error, "WARN": Warn, "warning": Warn, "fatal": Fatal, "Debug": Debug} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	if _, err := Parse("loud"); err == nil {
		t.Error("loud is no level")
	}
}

func TestGrouper(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines string // "|" before what begins a record
		level Level  // of the last record
	}{
		{"single lines", "|INFO a\n|INFO b\n|c", Unknown},
		{"indented", "|ERROR a\n  b\n\tc\n|INFO d", Info},
		{"python", "|INFO a\n|Traceback (most recent call last):\n  File \"x.py\", line 1, in <module>\n    f()\nValueError: bad\n|INFO b", Info},
		{"python under its logger's line", "|ERROR:root:failed\nTraceback (most recent call last):\n  File \"x.py\", line 1\nKeyError: 'a'", Error},
		{"python in one line with the logger", "|2026-11-21 03:49:17 ERROR x Traceback (most recent call last):\n  File \"x.py\"\nKeyError: 'a'\n|next", Unknown},
		{"python chained", "|Traceback (most recent call last):\n  File \"x.py\"\nKeyError: 'a'\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"x.py\"\nRuntimeError: b\n|INFO c", Info},
		{"python level", "|Traceback (most recent call last):\n  File \"x.py\"\nKeyError: 'a'", Error},
		{"java", "|2026-11-21 03:49:17,123 ERROR [main] c.f.B - failed\njava.lang.IllegalStateException: no\n\tat c.f.B.run(B.java:1)\n\tat c.f.B.main(B.java:2)\nCaused by: java.io.IOException: disk\n\tat c.f.D.read(D.java:7)\n\t... 2 more\n|2026-11-21 03:49:18,000 INFO [main] c.f.B - on", Info},
		{"java alone", "|Exception in thread \"main\" java.lang.Error: x\n\tat A.main(A.java:1)", Error},
		{"exception behind a mild line is its own", "|INFO a\n|java.io.IOException: x\n\tat A.b(A.java:1)", Error},
		{"go panic", "|listening\n|panic: runtime error: index out of range\n\ngoroutine 1 [running]:\nmain.f(...)\n\t/src/main.go:7\nmain.main()\n\t/src/main.go:3 +0x1d\nexit status 2\n|started", Unknown},
		{"go panic level", "|panic: no\n\ngoroutine 7 [running]:\nnet/http.(*conn).serve(0x1)\n\t/x.go:1\ncreated by main.main", Fatal},
		{"node", "|TypeError: x is not a function\n    at f (/app/a.js:1:2)\n    at Object.<anonymous> (/app/a.js:3:4)\n|GET /", Unknown},
		{"rust", "|INFO a\n|thread 'main' panicked at src/main.rs:2:5:\nindex out of bounds: the len is 3\nnote: run with `RUST_BACKTRACE=1` environment variable\n|INFO b", Info},
		{"rust with a backtrace", "|thread 'main' panicked at src/main.rs:2:5:\nboom\nstack backtrace:\n   0: rust_begin_unwind\n             at /rustc/x.rs:1:5\nnote: Some details are omitted\n|next", Unknown},
		{"rust with a long message", "|thread 'main' panicked at src/main.rs:2:5:\nmulti\nline\nnote: run with `RUST_BACKTRACE=1`\n|next", Unknown},
		{"rust without a note", "|thread 'main' panicked at src/main.rs:2:5:\nboom\n|INFO next", Info},
		{"python under a warning", "|WARNING:root:hi\nTraceback (most recent call last):\n  File \"x.py\"\nKeyError: 'a'", Error},
		{"a blank line inside a record", "|fail: A[0]\n      message\n\n      System.Exception: after it\n|info: B[0]", Info},
		{"a blank line behind a record", "|info: A[0]\n      message\n|\n|b", Unknown},
		{"rust before 1.73", "|thread 'w' panicked at 'boom', src/main.rs:2:5\nnote: run with `RUST_BACKTRACE=1`\n|next", Unknown},
		{"rust level", "|thread 'main' panicked at src/main.rs:2:5:\nboom", Fatal},
		{"indented record of logfmt", "|level=info msg=a\n|  level=error msg=b", Error},
		{"indented text that holds a key", "|level=error msg=a\n  under it: level=info\n    level=3", Error},
		{"printed object", "|{\n  \"a\": 1\n}\n|b", Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var g Grouper
			var last Level
			var got []string
			for line := range strings.SplitSeq(strings.ReplaceAll(tt.lines, "|", ""), "\n") {
				continues, l := g.Next([]byte(line))
				if !continues {
					line = "|" + line
				}
				got = append(got, line)
				last = l
			}
			if joined := strings.Join(got, "\n"); joined != tt.lines {
				t.Errorf("got\n%s\nwant\n%s", joined, tt.lines)
			}
			if last != tt.level {
				t.Errorf("level %q, want %q", last, tt.level)
			}
		})
	}
}

func FuzzDetect(f *testing.F) {
	for _, s := range []string{`{"level":"info"}`, `level=warn msg=x`, "I1121 03:49:17.123456 1 a.go:1] x", "1:M 21 Nov 2026 03:49:17.123 * x", "[ERROR] x", "\x1b[31mERROR\x1b[0m", `{"a":{"level":"x`, `{"level`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		l := Detect(line)
		if l > Fatal {
			t.Fatalf("%q has level %d", line, l)
		}
		var g Grouper
		for range 3 {
			if _, l := g.Next(line); l > Fatal {
				t.Fatalf("%q has level %d", line, l)
			}
		}
	})
}

func BenchmarkDetect(b *testing.B) {
	for _, tt := range []struct{ name, line string }{
		{"none", "GET /api/v1/items/17 HTTP/1.1 200 12.5ms client 10.244.0.7 agent curl over a proxy that is somewhere else and more text"},
		{"capitals", "2026-11-21 03:49:17,123 [main] ERROR com.example.Foo - the message goes on for a while until it has its length of some bytes"},
		{"logfmt", "time=2026-11-21T03:49:17Z level=info msg=\"the message goes on for a while until it has its length of some bytes\" k=v"},
		{"json", `{"level":"info","ts":1795212000.25,"msg":"the message goes on for a while until it has its length of some bytes","k":"v"}`},
		{"json late", `{"ts":1795212000.25,"msg":"the message goes on for a while until it has its length of some bytes","k":"v","level":"info"}`},
	} {
		b.Run(tt.name, func(b *testing.B) {
			line := []byte(tt.line)
			b.ReportAllocs()
			for b.Loop() {
				Detect(line)
			}
		})
	}
}
