package session

import (
	"context"
	"path"
	"path/filepath"
	"strings"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/tree"
)

// A mapping says what a saved file of a build context means: what the build's
// recipe says, unless `sync:` in kdev.yaml says otherwise. It does not change.
type mapping struct {
	plan build.Recipe
	sync config.Sync
	dir  string // the context, absolute
}

// explain is Plan.Explain with the configuration's word first.
func (m *mapping) explain(rel string) dockerfile.Verdict {
	v := m.plan.Explain(rel)
	if m.sync.Off {
		if v.Action == dockerfile.Sync {
			v.Action, v.Dests, v.Why = dockerfile.Rebuild, nil, v.Why+", and `sync: off` makes that a build"
		}
		return v
	}
	for _, rule := range m.sync.Rules {
		if dest, ok := ruleDest(rule, rel); ok {
			return dockerfile.Verdict{Action: dockerfile.Sync, Dests: []string{dest}, Why: rule.Where + " puts it at " + dest}
		}
	}
	return v
}

// sources lists the paths and patterns of the context that lines of the
// Dockerfile and rules name.
func (m *mapping) sources() []string {
	all := m.plan.Sources()
	for _, rule := range m.sync.Rules {
		all = append(all, path.Clean(rule.From))
	}
	return all
}

// imageHas says whether the image holds at dest what the context had at rel
// when it was built: a rule may put a file where no COPY does.
func (m *mapping) imageHas(rel, dest string) bool {
	v := m.plan.Explain(rel)
	if v.Action != dockerfile.Sync {
		return false
	}
	for _, d := range v.Dests {
		if d == dest {
			return true
		}
	}
	return false
}

// ruleDest says where a rule puts a path of the context. A rule whose `to` ends
// in a slash keeps the name of a single file.
func ruleDest(rule config.SyncRule, rel string) (string, bool) {
	from := path.Clean(rule.From)
	switch {
	case from == ".":
		return path.Join(rule.To, rel), true
	case rel == from && strings.HasSuffix(rule.To, "/"):
		return path.Join(rule.To, path.Base(rel)), true
	case rel == from:
		return path.Clean(rule.To), true
	}
	rest, ok := strings.CutPrefix(rel, from+"/")
	return path.Join(rule.To, rest), ok
}

// placements is Plan.Placements with the rules' files in it.
func (m *mapping) placements(ctx context.Context, index *tree.Index) (map[string]dockerfile.Placement, error) {
	if m.sync.Off {
		return nil, nil
	}
	placed, err := m.plan.Placements(ctx, index)
	if err != nil || len(m.sync.Rules) == 0 {
		return placed, err
	}
	context, err := filepath.Rel(index.Root(), m.dir)
	if err != nil {
		return nil, err
	}
	context = filepath.ToSlash(context)
	inContext := func(indexed string) string {
		if context == "." {
			return indexed
		}
		return strings.TrimPrefix(strings.TrimPrefix(indexed, context), "/")
	}
	ignored := m.plan.Ignore()
	skip := func(indexed string, isDir bool) (bool, bool) {
		rel := inContext(indexed)
		if !ignored.Match(rel, isDir).Ignored {
			return false, true
		}
		return true, isDir && ignored.MayReinclude(rel)
	}
	// What a directory that may not be read has below it stays in the containers.
	closed := func(e tree.Entry, err error) error {
		for _, rule := range m.sync.Rules {
			if dest, ok := ruleDest(rule, inContext(e.Path)); ok {
				placed[dest] = dockerfile.Placement{Local: e.Path, Entry: e, Unread: err}
				return nil
			}
			if strings.HasPrefix(path.Clean(rule.From), inContext(e.Path)+"/") {
				return err
			}
		}
		return nil
	}
	err = tree.WalkOpen(ctx, index, context, skip, func(e tree.Entry) error {
		rel := inContext(e.Path)
		for _, rule := range m.sync.Rules {
			dest, ok := ruleDest(rule, rel)
			if !ok || rel == "" || e.IsDir() && rel == path.Clean(rule.From) {
				continue
			}
			// The rule wins: what the Dockerfile would do with the file is off.
			for _, other := range m.plan.Explain(rel).Dests {
				if other != dest && placed[other].Local == e.Path {
					delete(placed, other)
				}
			}
			placed[dest] = dockerfile.Placement{Local: e.Path, Entry: e}
			break
		}
		return nil
	}, closed)
	return placed, err
}
