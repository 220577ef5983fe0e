package theme

import (
	"strings"
	"testing"
)

func TestThemes(t *testing.T) {
	for _, name := range Names() {
		th, err := ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []Style{th.Title, th.Faint, th.Key, th.Good, th.Busy, th.Bad, th.Selected, th.Mark, th.Current, th.Notice, th.Frame} {
			switch {
			case name == "none" && s != "":
				t.Errorf("none has a style: %q", s)
			case name != "none" && (!strings.HasPrefix(string(s), "\x1b[") || !strings.HasSuffix(string(s), "m")):
				t.Errorf("%s has a style that is no SGR sequence: %q", name, s)
			}
		}
		if name != "none" && len(th.Palette.Pods) < 8 {
			t.Errorf("%s tells only %d pods apart", name, len(th.Palette.Pods))
		}
		if name != "none" && (th.Good == th.Bad || th.Good == th.Busy || th.Busy == th.Bad) {
			t.Errorf("%s: two states have one colour", name)
		}
	}
	if _, err := ByName("pink"); err == nil {
		t.Error("pink is no theme")
	}
}

func TestNextWalksThroughAll(t *testing.T) {
	name := Names()[0]
	for range Names() {
		name = Next(name).Name
	}
	if name != Names()[0] {
		t.Errorf("came to %s", name)
	}
	if Next("no such theme").Name != Names()[0] {
		t.Error("an unknown theme has no next one")
	}
}
