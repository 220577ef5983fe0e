package assemble

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/solver/pb"

	"github.com/kdev-io/kdev/internal/problem"
)

// An engine that passes flags by is never given them: it begins with images that
// hold what the lines mean.
func TestAnOldEngineGetsNoNewCopy(t *testing.T) {
	for name, c := range map[string]struct {
		lines string
		want  []string // of the only image that is offered
		not   []string
	}{
		"exclude":            {"COPY --exclude=r.md a /x/\nRUN true", []string{"x/top 644", "x/b/1.txt 644"}, []string{"x/r.md"}},
		"exclude, add":       {"ADD --exclude=r.md a /x/\nRUN true\nCOPY f /f", []string{"x/top 644"}, []string{"x/r.md"}},
		"letters":            {"COPY --chmod=u=rwX,go= a /x/\nRUN true", []string{"x/top 600", "x/b 700"}, nil},
		"setuid":             {"COPY --chmod=4755 f /x\nRUN true", []string{"x 4755"}, nil},
		"mode of a folder":   {"COPY --chmod=700 a /x\nRUN true", []string{"x 700", "x/b 700"}, nil},
		"parents":            {"COPY --parents a/./b/*.txt a/top /x/\nRUN true", []string{"x/b/1.txt 644", "x/a/top 644"}, []string{"x/a/b", "x/f"}},
		"after a run":        {"RUN true\nCOPY --exclude=r.md a /x/\nRUN false", []string{"made/by-run 644", "x/top 644"}, []string{"x/r.md"}},
		"out of a run":       {"RUN true\nFROM base\nCOPY --from=0 --chmod=600 /made/by-run /x\nRUN false", []string{"x 600"}, []string{"made/by-run"}},
		"more, then another": {"COPY f /g\nCOPY --exclude=r.md a /x/\nCOPY f /h\nRUN true", []string{"g 644", "x/top 644"}, []string{"h"}},
	} {
		t.Run(name, func(t *testing.T) {
			store := newStore(t)
			e := newEngine(t, store)
			e.version.Name = "Docker 20.10.24"
			p := newProject(t, store, "Dockerfile", "FROM base\n"+c.lines+"\n", "f", "1", "a/r.md", "1", "a/top", "1", "a/b/1.txt", "1")
			if _, err := p.make(e); err != nil {
				t.Fatal(err)
			}
			for _, s := range e.solves {
				for _, raw := range s.Definition.Def {
					var op pb.Op
					if err := op.UnmarshalVT(raw); err != nil {
						t.Fatal(err)
					}
					if since(&vertex{op: &op}) > 0 {
						t.Errorf("the engine gets %v", &op)
					}
				}
			}
			if len(e.offers) != 1 {
				t.Fatalf("%d images are offered, want 1", len(e.offers))
			}
			tree := listed(t, p, e.offers[0])
			for _, want := range c.want {
				if !slices.Contains(tree, want) {
					t.Errorf("%s is missing in %v", want, tree)
				}
			}
			for _, not := range c.not {
				if slices.ContainsFunc(tree, func(l string) bool { return strings.HasPrefix(l, not+" ") }) {
					t.Errorf("%s is in %v", not, tree)
				}
			}
		})
	}
}

// listed is an image's tree: path and mode of each node.
func listed(t *testing.T, p *project, manifest string) []string {
	t.Helper()
	tree, err := Look(p.store, &p.trees, manifest)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for name, n := range tree.tree.nodes {
		bits := uint32(n.Mode.Perm())
		if n.Mode&fileMode(0o4000)&^0o777 != 0 {
			bits |= 0o4000
		}
		out = append(out, fmt.Sprintf("%s %o", name, bits))
	}
	return out
}

// A new engine gets the lines as they are, and one that is asked for nothing new is
// not asked for its version.
func TestANewEngineGetsAllOfIt(t *testing.T) {
	store := newStore(t)
	e := newEngine(t, store)
	e.version = Version{Release: lettersSince, Name: "Docker 28.0.0"}
	p := newProject(t, store, "Dockerfile", "FROM base\nCOPY --exclude=r.md --chmod=u=rwX a /x/\nRUN true\n", "a/r.md", "1")
	if _, ok := IsUnsupported(func() error { _, err := p.make(e); return err }()); !ok || len(e.offers) > 0 {
		t.Errorf("%d offers; want the engine to build all of it", len(e.offers))
	}
	p.write("Dockerfile", "FROM base\nCOPY --exclude=r.md --chmod=u=rwX a /x/\nRUN true\nCOPY a /y\n")
	if _, err := p.make(e); err != nil || len(e.offers) > 0 || e.solved != 1 {
		t.Errorf("%v, %d offers, %d solves", err, len(e.offers), e.solved)
	}
}

// What neither does right is no image.
func TestTooOldAndNotComputed(t *testing.T) {
	store := newStore(t)
	e := newEngine(t, store)
	e.version.Name = "Docker 20.10.24"
	for dockerfile, line := range map[string]string{
		"FROM base\nCOPY f /\nADD --exclude=r.md --chmod=700 packed.tar /x/\nRUN true\n":               "Dockerfile:3",
		"FROM base\nADD --exclude=r.md packed.tar /x/\n":                                               "Dockerfile:2",
		"FROM base\nRUN true\nADD --chmod=4755 http://127.0.0.1:9/f /x/\nRUN true\n":                   "Dockerfile:3",
		"FROM base\nADD --exclude=r.md --chmod=700 packed.tar /x/\nRUN true\nCOPY f /g\n":              "Dockerfile:2",
		"FROM base\nADD --chmod=u=rw https://github.com/a/b.git#main /x\nRUN true\nCOPY f /g\nRUN x\n": "Dockerfile:2",
	} {
		p := newProject(t, store, "Dockerfile", dockerfile, "f", "1", "packed.tar", string(tarOf(t, "r.md", "1")))
		_, err := p.make(e)
		q := problem.As(err)
		if q == nil || q.Code != "engine-too-old" || q.Where != line || !strings.Contains(q.Summary, "Docker 20.10.24") || !strings.Contains(q.Hint, "buildkit:") {
			t.Errorf("%s: %v %+v", dockerfile, err, q)
		}
	}
}

// An epoch is for engines alone: an old one builds no line with it that it passes by.
func TestTooOldForAnEpoch(t *testing.T) {
	store := newStore(t)
	e := newEngine(t, store)
	e.version.Name = "Docker 20.10.24"
	epoch := map[string]string{"SOURCE_DATE_EPOCH": "0"}
	p := newProject(t, store, "Dockerfile", "FROM base\nCOPY --exclude=f . /x/\n", "f", "1")
	if _, err := p.makeWith(e, epoch); problem.As(err) == nil || problem.As(err).Code != "engine-too-old" || problem.As(err).Where != "Dockerfile:2" {
		t.Errorf("%v", err)
	}
	p.write("Dockerfile", "FROM base\nCOPY f /x/\n")
	if _, err := p.makeWith(e, epoch); err == nil || problem.As(err) != nil {
		t.Errorf("%v", err)
	}
}

func TestParents(t *testing.T) {
	store := newStore(t)
	p := newProject(t, store, "Dockerfile", "FROM base\nCOPY --parents a/./b/*.txt a/top /x/\n", "f", "1", "a/top", "1", "a/b/1.txt", "1")
	r, err := p.make(newEngine(t, store))
	if err != nil || r.Rung != "assembled" {
		t.Fatalf("%v %+v", err, r)
	}
	tree := listed(t, p, r.Digest)
	for _, want := range []string{"x/b/1.txt 644", "x/a/top 644"} {
		if !slices.Contains(tree, want) {
			t.Errorf("%s is missing in %v", want, tree)
		}
	}
	p.write("Dockerfile", "FROM base\nCOPY --parents a/none /x/\n")
	_, err = p.make(newEngine(t, store))
	if q := problem.As(err); q == nil || q.Where != "Dockerfile:2" || !strings.Contains(q.Err.Error(), "not found") {
		t.Errorf("%v", err)
	}
}
