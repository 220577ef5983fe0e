package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestDraw(t *testing.T) {
	var b strings.Builder
	draw(&b, "\x1b[31mred\x1b[m & <plain>\n\x1b[7mreverse\x1b[m \x1b[1;38;2;1;2;3mbold\x1b[m 日本", "a \"title\"")
	for _, want := range []string{`fill="` + scheme[1] + `">red</text>`, "&amp; &lt;plain&gt;", `fill="` + ground + `"`, `fill="#010203" font-weight="bold">bold`, "aria-label=\"a &quot;title&quot;\"", "日"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the picture lacks %s:\n%s", want, b.String())
		}
	}
	for dec := xml.NewDecoder(strings.NewReader(b.String())); ; {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestControlSequencesDoNotReachThePicture(t *testing.T) {
	var b strings.Builder
	draw(&b, "\x1b[2J\x1b]0;x\x07text\x01", "")
	if strings.ContainsAny(b.String(), "\x1b\x07\x01") {
		t.Errorf("%q", b.String())
	}
}
