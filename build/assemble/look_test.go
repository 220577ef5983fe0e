package assemble

import (
	"io/fs"
	"testing"
)

func TestTreeHas(t *testing.T) {
	file, dir := node{Mode: 0o755}, node{Mode: fs.ModeDir | 0o755}
	link := func(to string) node { return node{Mode: fs.ModeSymlink | 0o777, Link: to} }
	tree := &Tree{tree: newRootfs([]*listing{
		{Entries: []entry{
			{Path: "usr/bin", node: dir}, {Path: "usr/bin/sh", node: file}, {Path: "usr/bin/gone", node: file}, {Path: "bin", node: link("usr/bin")},
			{Path: "usr/bin/python", node: link("python3")}, {Path: "tools", node: link("/mnt/tools")}, {Path: "app", node: dir},
		}},
		{Entries: []entry{{Path: "usr/bin/.wh.gone", node: file}}},
	})}
	for p, want := range map[string][2]bool{
		"/usr/bin/sh":     {true, true},
		"/bin/sh":         {true, true},  // by a link
		"/bin/python":     {true, true},  // a link to nothing is not nothing
		"/bin/gone":       {false, true}, // a layer above removed it
		"/app/start.sh":   {false, true},
		"/srv/a/start.sh": {false, true},
		"/tools/mount":    {false, false}, // a volume may be there
		"/app/../bin/sh":  {true, true},
	} {
		if there, sure := tree.Has(p); there != want[0] || sure != want[1] {
			t.Errorf("%s: there %v, sure %v; want %v", p, there, sure, want)
		}
	}
}
