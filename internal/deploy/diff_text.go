package deploy

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// WriteDiff writes differences for people. It returns how many objects differ.
func WriteDiff(w io.Writer, diffs []ObjectDiff, colour bool) (int, error) {
	paint := func(sgr, text string) string {
		if !colour {
			return text
		}
		return "\x1b[" + sgr + "m" + text + "\x1b[0m"
	}
	var b strings.Builder
	for _, d := range diffs {
		mark, sgr := map[Change]string{Create: "+", Update: "~", Recreate: "±", Remove: "-", Unseen: "?"}[d.Change], map[Change]string{Create: "32", Update: "33", Recreate: "33", Remove: "31", Unseen: "33"}[d.Change]
		head := fmt.Sprintf("%s %s/%s", mark, d.Kind, d.Name)
		if d.Change == Recreate {
			head += " (recreated: " + d.Why + ")"
		} else if d.Why != "" {
			head += " (" + d.Why + ")"
		}
		b.WriteString(paint(sgr, head))
		if d.Origin != "" {
			b.WriteString("  " + paint("2", d.Origin))
		}
		b.WriteByte('\n')
		for _, f := range d.Fields {
			fmt.Fprintf(&b, "    %s\n", f.Path)
			if f.From != nil {
				b.WriteString(paint("31", indented("- ", f.From)))
			}
			if f.To != nil {
				b.WriteString(paint("32", indented("+ ", f.To)))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return len(diffs), err
}

// indented writes a value, several lines of a text as such.
func indented(mark string, v any) string {
	text, ok := v.(string)
	if !ok {
		data, err := json.Marshal(v)
		if err != nil {
			data = []byte(fmt.Sprint(v))
		}
		text = string(data)
	}
	var b strings.Builder
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		b.WriteString("      " + mark + line)
	}
	return b.String()
}
