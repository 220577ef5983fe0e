//go:build e2e

package ignore

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	buildkit "github.com/moby/buildkit/client"
	"github.com/moby/moby/client"
	"github.com/tonistiigi/fsutil"
)

// TestDockerBuildOracle builds `COPY . /` for generated contexts on the Docker
// engine and compares the files that come out with our decisions.
func TestDockerBuildOracle(t *testing.T) {
	const builds, atOnce = 220, 4
	ctx := t.Context()
	kit := dialEngine(t)
	type job struct {
		seed uint64
		dir  string
		c    *oracleCase
		m    *DockerMatcher
		got  map[string]bool
		err  error
	}
	var jobs []*job
	root := t.TempDir()
	for seed := uint64(1000); len(jobs) < builds; seed++ {
		r := rand.New(rand.NewPCG(seed, 7))
		j := &job{seed: seed, dir: filepath.Join(root, "context", fmt.Sprint(seed))}
		j.c = makeDockerCase(t, r, j.dir)
		var err error
		if j.m, err = Docker(j.dir, ""); err != nil {
			continue // TestFsutilOracle compares which files are refused
		}
		if len(dockerContext(j.m, j.c)) == 0 {
			continue // BuildKit refuses a COPY of nothing in some versions
		}
		jobs = append(jobs, j)
	}
	dockerfile := filepath.Join(root, "dockerfile")
	if err := os.MkdirAll(dockerfile, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dockerfile, "Dockerfile"), []byte("FROM scratch\nCOPY . /\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	room := make(chan struct{}, atOnce)
	for _, j := range jobs {
		room <- struct{}{}
		wait.Go(func() {
			defer func() { <-room }()
			j.got, j.err = buildContext(ctx, kit, j.dir, dockerfile, filepath.Join(root, "out", fmt.Sprint(j.seed)))
		})
	}
	wait.Wait()
	decisions := 0
	for _, j := range jobs {
		if j.err != nil {
			t.Fatalf("seed %d: %v\n%s", j.seed, j.err, j.c.text)
		}
		want := dockerContext(j.m, j.c)
		for p := range j.c.isDir {
			decisions++
			if j.got[p] != want[p] {
				t.Errorf("seed %d, %s: sent by docker build: %v, by us: %v\n%s", j.seed, p, j.got[p], want[p], j.c.text)
			}
		}
	}
	t.Logf("%d builds, %d decisions", len(jobs), decisions)
}

func dialEngine(t *testing.T) *buildkit.Client {
	t.Helper()
	docker, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	kit, err := buildkit.New(t.Context(), "",
		buildkit.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return docker.DialHijack(ctx, "/grpc", "h2c", nil)
		}),
		buildkit.WithSessionDialer(func(ctx context.Context, proto string, meta map[string][]string) (net.Conn, error) {
			return docker.DialHijack(ctx, "/session", proto, meta)
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kit.Close() })
	return kit
}

// buildContext returns the paths of the image that the context becomes.
func buildContext(ctx context.Context, kit *buildkit.Client, dir, dockerfile, out string) (map[string]bool, error) {
	mounts := map[string]fsutil.FS{}
	for name, d := range map[string]string{"context": dir, "dockerfile": dockerfile} {
		mount, err := fsutil.NewFS(d)
		if err != nil {
			return nil, err
		}
		mounts[name] = mount
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	_, err := kit.Solve(ctx, nil, buildkit.SolveOpt{
		Frontend:    "dockerfile.v0",
		LocalMounts: mounts,
		SharedKey:   dir, // one context must not be sent as a difference to another
		Exports:     []buildkit.ExportEntry{{Type: buildkit.ExporterLocal, OutputDir: out}},
	}, nil)
	if err != nil {
		return nil, err
	}
	got := map[string]bool{}
	err = filepath.WalkDir(out, func(p string, _ fs.DirEntry, err error) error {
		if rel, relErr := filepath.Rel(out, p); relErr == nil && rel != "." {
			got[filepath.ToSlash(rel)] = true
		}
		return err
	})
	return got, err
}
