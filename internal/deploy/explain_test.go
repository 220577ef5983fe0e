package deploy

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/kdev-io/kdev/internal/kube"
)

var update = flag.Bool("update", false, "rewrite the texts that tests expect")

// Each file of testdata/explain is a state of a namespace as a real cluster showed
// it (TestExplanations of the end-to-end tests writes them), the lines that
// containers printed, and what kdev says to that. A node that goes away cannot be had there:
// node-not-ready is what MarkPodsNotReady of k8s.io/kubernetes@v1.37.2 leaves behind.
func TestExplanationFixtures(t *testing.T) {
	files, err := filepath.Glob("testdata/explain/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d fixtures, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, code := explainFixture(t, archive)
			name := strings.TrimSuffix(filepath.Base(file), ".txtar")
			if want, _, _ := strings.Cut(name, "."); code != want && !strings.HasPrefix(name, "no-problem") {
				t.Errorf("code %q, want %q", code, want)
			}
			if lines := strings.Count(got, "\n"); lines > 12 {
				t.Errorf("%d lines, at most 12 fit beside a log:\n%s", lines, got)
			}
			for i, f := range archive.Files {
				if f.Name != "want" {
					continue
				}
				if *update {
					archive.Files[i].Data = []byte(got)
					if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
						t.Fatal(err)
					}
				} else if string(f.Data) != got {
					t.Errorf("got\n%s\nwant\n%s", got, f.Data)
				}
			}
		})
	}
}

// explainFixture loads the objects into informers and explains the one workload
// that the comment of the archive names: "Deployment/web".
func explainFixture(t *testing.T, archive *txtar.Archive) (text, code string) {
	t.Helper()
	var objects []runtime.Object
	tail := map[run][]string{}
	var now time.Time
	for _, f := range archive.Files {
		switch dir, rest, _ := strings.Cut(f.Name, "/"); dir {
		case "now":
			var err error
			if now, err = time.Parse(time.RFC3339, strings.TrimSpace(string(f.Data))); err != nil {
				t.Fatal(err)
			}
		case "objects.yaml":
			for _, doc := range strings.Split(string(f.Data), "\n---\n") {
				o, _, err := scheme.Codecs.UniversalDeserializer().Decode([]byte(doc), nil, nil)
				if err != nil {
					t.Fatalf("%v in\n%s", err, doc)
				}
				objects = append(objects, o)
			}
		case "tail": // pod/container
			pod, container, _ := strings.Cut(rest, "/")
			tail[run{container: container, id: pod}] = tailOf(string(f.Data), tailLines)
		}
	}
	kind, name, _ := strings.Cut(strings.TrimSpace(string(archive.Comment)), "/")
	namespace := ""
	for _, o := range objects {
		if m, err := meta.Accessor(o); err == nil && m.GetName() == name && o.GetObjectKind().GroupVersionKind().Kind == kind {
			namespace = m.GetNamespace()
		}
	}
	client := &kube.Client{Core: fake.NewSimpleClientset(objects...)}
	ctx, cancel := context.WithCancel(t.Context())
	live, err := kube.Watch(ctx, client, namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Wait()
	defer cancel()
	d := New(client, Options{Project: "shop", Namespace: namespace, Now: func() time.Time { return now }})
	d.tails.fetch = func(_ context.Context, pod *corev1.Pod, container string, _ bool) []string {
		return tail[run{container: container, id: pod.Name}]
	}
	defer d.Close()
	d.status(live, Ref{kind, name}) // asks for the lines
	d.tails.wg.Wait()
	s := d.status(live, Ref{kind, name})
	if s.Problem != nil {
		code = s.Problem.Code
		if s.Problem.Hint == "" {
			t.Error("no hint")
		}
	}
	return s.Explanation(now), code
}

func TestMask(t *testing.T) {
	for in, want := range map[string]string{
		"postgres://shop:s3cret@db:5432/shop":      "postgres://shop:***@db:5432/shop",
		"redis://:hunter2@redis:6379":              "redis://:***@redis:6379",
		"DB_PASSWORD=hunter2 connecting":           "DB_PASSWORD=*** connecting",
		`{"api_key": "abc123", "user": "x"}`:       `{"api_key": "***", "user": "x"}`,
		"Authorization: Bearer abcdefgh12345":      "Authorization: Bearer ***",
		"token eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0": "token ***",
		"connection refused by 10.0.0.1:5432":      "connection refused by 10.0.0.1:5432",
		`secret "db" not found`:                    `secret "db" not found`,
		"see https://example.com/a?b=c":            "see https://example.com/a?b=c",
	} {
		if got := mask(in); got != want {
			t.Errorf("mask(%q) = %q, want %q", in, got, want)
		}
	}
}
