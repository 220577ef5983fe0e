package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/kdev-io/kdev/internal/problem"
)

// Each file of testdata/load is a project with a comment that says what Load
// and the schema make of it:
//
//	ok | a line "WHERE CODE part of summary or hint" for each problem
//	schema: accepts | rejects
//
// Where Load is stricter than the schema, the case shows something that only
// the folder, the environment or YAML's syntax can tell.
func TestLoadCorpus(t *testing.T) {
	for name, c := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			root := c.unpack(t)
			_, err := Load(root, LoadOptions{Env: map[string]string{"USER": "ada", "EMPTY": "", "N": "3"}, Version: "v0.2.1"})
			var got Problems
			if err != nil && !errors.As(err, &got) {
				t.Fatalf("not Problems: %v", err)
			}
			for i, want := range c.want {
				if i >= len(got) {
					t.Errorf("missing: %s", want)
					continue
				}
				f := strings.SplitN(want, " ", 3)
				text := got[i].Summary + " // " + got[i].Hint
				if got[i].Where != f[0] || got[i].Code != f[1] || !strings.Contains(text, f[2]) {
					t.Errorf("problem %d\n got %s %s %s\nwant %s", i, got[i].Where, got[i].Code, text, want)
				}
				if got[i].ExitCode() != int(problem.Usage) {
					t.Errorf("%s: exit code %d", want, got[i].ExitCode())
				}
			}
			for _, p := range got[min(len(c.want), len(got)):] {
				t.Errorf("unexpected: %s %s %s // %s", p.Where, p.Code, p.Summary, p.Hint)
			}
		})
	}
}

func TestSchemaAgrees(t *testing.T) {
	s := compileSchema(t)
	for name, c := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			var v any
			if err := yaml.Unmarshal(c.files[FileName], &v); err != nil {
				if c.schema != "" {
					t.Fatalf("not YAML, so no schema sees it: %v", err)
				}
				return
			}
			js, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(js))
			if err != nil {
				t.Fatal(err)
			}
			if instance == nil {
				return // an empty file is left to detection
			}
			got := "accepts"
			if err = s.Validate(instance); err != nil {
				got = "rejects"
			}
			if got != c.schema {
				t.Errorf("schema %s, want %s: %v", got, c.schema, err)
			}
			if len(c.want) == 0 && got != "accepts" {
				t.Error("the schema refuses what Load takes")
			}
		})
	}
}

func TestGeneratedFilesAreUpToDate(t *testing.T) {
	docs := filepath.Join("..", "..", "docs")
	if got := read(t, filepath.Join(docs, "kdev.schema.json")); !bytes.Equal(got, Schema()) {
		t.Error("docs/kdev.schema.json is stale: run go generate ./internal/config")
	}
	page := string(read(t, filepath.Join(docs, "config.md")))
	for _, part := range []string{Reference(), strings.Join(Unsupported(), "`, `")} {
		if !strings.Contains(page, part) {
			t.Error("docs/config.md is stale: run go generate ./internal/config")
		}
	}
}

type corpusCase struct {
	want   []string
	schema string
	files  map[string][]byte
}

func corpus(t testing.TB) map[string]corpusCase {
	t.Helper()
	names, err := filepath.Glob("testdata/load/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatal("no corpus", err)
	}
	cases := map[string]corpusCase{}
	for _, n := range names {
		ar, err := txtar.ParseFile(n)
		if err != nil {
			t.Fatal(err)
		}
		c := corpusCase{files: map[string][]byte{}}
		ok := false
		for _, line := range strings.Split(strings.TrimSpace(string(ar.Comment)), "\n") {
			switch {
			case strings.HasPrefix(line, "#") || line == "":
			case line == "ok":
				ok = true
			case strings.HasPrefix(line, "schema: "):
				c.schema = strings.TrimPrefix(line, "schema: ")
			default:
				c.want = append(c.want, line)
			}
		}
		if ok == (len(c.want) > 0) {
			t.Fatalf("%s: say ok or what is wrong", n)
		}
		for _, f := range ar.Files {
			c.files[f.Name] = f.Data
		}
		cases[strings.TrimSuffix(filepath.Base(n), ".txtar")] = c
	}
	return cases
}

func (c corpusCase) unpack(t testing.TB) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "shop")
	write(t, root, "web/Dockerfile", "FROM scratch\n")
	write(t, root, "k8s/web.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n")
	for name, data := range c.files {
		write(t, root, name, string(data))
	}
	return root
}

func write(t testing.TB, root, name, content string) {
	t.Helper()
	p := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func compileSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("kdev.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("kdev.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func FuzzLoad(f *testing.F) {
	for _, c := range corpus(f) {
		f.Add(c.files[FileName], c.files[LocalName], c.files[envName])
	}
	f.Fuzz(func(t *testing.T, main, local, env []byte) {
		root := t.TempDir()
		write(t, root, envName, string(env))
		write(t, root, FileName, string(main))
		if len(local) > 0 {
			write(t, root, LocalName, string(local))
		}
		p, err := Load(root, LoadOptions{Env: map[string]string{"USER": "ada"}})
		if (p == nil) == (err == nil) {
			t.Fatalf("project %v, error %v", p, err)
		}
		var ps Problems
		if err != nil && (!errors.As(err, &ps) || len(ps) == 0) {
			t.Fatalf("an error that is no problem: %v", err)
		}
		for _, q := range ps {
			if q.Code == "" || q.Summary == "" || q.Where == "" || strings.Contains(q.Summary, "\n") {
				t.Fatalf("half a problem: %#v", q)
			}
		}
		if err != nil {
			return
		}
		for _, s := range p.Services {
			if s.Build != nil && !strings.HasPrefix(s.Build.Dockerfile, root+string(filepath.Separator)) {
				t.Fatal(fmt.Sprint("a Dockerfile outside the root: ", s.Build.Dockerfile))
			}
		}
	})
}
