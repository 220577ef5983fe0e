package watch

import (
	"fmt"
	"strings"
	"testing"
)

// Nothing is dropped because the reader is slow, and a tree of bad names does
// not keep the watcher from saying what matters.
func TestManyNotices(t *testing.T) {
	n := newNotices()
	for i := range 2 * noticeTypes {
		n.once(fmt.Sprint("special ", i), "watch-special", fmt.Sprint(i))
	}
	n.once("limit", "watch-limit", "no more watches")
	n.once("special 0", "watch-special", "0")
	n.close()
	var got []Notice
	for notice := range n.out {
		got = append(got, notice)
	}
	if len(got) != noticeTypes+1 || got[0].Text != "0" || got[noticeTypes].Code != "watch-limit" {
		t.Fatalf("%d notices, first %v, last %v", len(got), got[0], got[len(got)-1])
	}
	if last := got[noticeTypes-1].Text; !strings.Contains(last, "there are more") {
		t.Errorf("the last that is told is %q", last)
	}
}
