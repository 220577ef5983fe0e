// Command bench measures the image path on a real cluster: from a saved file
// to the new process, through build, store, registry and rollout.
//
//	go run ./build/bench            table on stderr, JSON on stdout
//	go run ./build/bench -big 1000  also with an image of that many megabytes
//
// It makes a kind cluster of its own and removes it, with a store and a registry of
// its own. The floor is measured in the same run: the same rollout between two
// images that the node already has. Use ratios where the machine is shared.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/client"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/tree"
)

func main() {
	log.SetFlags(0)
	runs := flag.Int("runs", 20, "edits to measure")
	big := flag.Int("big", 0, "megabytes of an image with a large layer of a RUN; 0: none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	results, err := measure(ctx, *runs, *big)
	if err != nil {
		log.Fatalf("bench: %v", err)
	}
	for _, r := range results {
		log.Printf("%-34s p50 %6.0f ms   max %6.0f ms   moved %d bytes", r.Name, r.P50, r.Max, r.Moved)
	}
	if err := json.NewEncoder(os.Stdout).Encode(results); err != nil {
		log.Fatalf("bench: %v", err)
	}
}

// A result is a row of the table; times are milliseconds.
type result struct {
	Name  string    `json:"name"`
	P50   float64   `json:"p50"`
	Max   float64   `json:"max"`
	All   []float64 `json:"all"`
	Moved int64     `json:"moved,omitempty"` // bytes that the registry sent, median
}

func measure(ctx context.Context, runs, big int) (results []result, err error) {
	b, closeAll, err := setUp(ctx)
	defer func() { err = errors.Join(err, closeAll()) }()
	if err != nil {
		return nil, err
	}
	small, err := b.service(ctx, "small", "FROM busybox:1\nWORKDIR /app\nCOPY . .\nCMD [\"sh\", \"run.sh\"]\n")
	if err != nil {
		return nil, err
	}
	floor, err := b.floor(ctx, small, runs)
	if err != nil {
		return nil, err
	}
	edits, err := b.edits(ctx, small, runs)
	if err != nil {
		return nil, err
	}
	results = append(results, floor)
	results = append(results, edits...)
	if big == 0 {
		return results, nil
	}
	large, err := b.service(ctx, "large", fmt.Sprintf("FROM busybox:1\nRUN dd if=/dev/urandom of=/big bs=1M count=%d\nWORKDIR /app\nCOPY . .\nCMD [\"sh\", \"run.sh\"]\n", big))
	if err != nil {
		return nil, err
	}
	edits, err = b.edits(ctx, large, runs)
	return append(results, edits...), err
}

// A bench is a cluster with a registry.
type bench struct {
	docker  *client.Client
	kube    *kube.Client
	cluster *cluster.Cluster
	store   *registry.Store
	ep      *registry.Endpoint
	index   *tree.Index
	builder build.Builder
	root    string
	version int
}

const clusterName = "kdev-bench"

func setUp(ctx context.Context) (_ *bench, closeAll func() error, err error) {
	var closers []func() error
	closeAll = func() error {
		var errs []error
		for _, c := range slices.Backward(closers) {
			errs = append(errs, c())
		}
		return errors.Join(errs...)
	}
	b := &bench{}
	if b.root, err = os.MkdirTemp("", "kdev-bench-"); err != nil {
		return nil, closeAll, err
	}
	closers = append(closers, func() error { return os.RemoveAll(b.root) })
	if b.docker, err = client.New(client.FromEnv); err != nil {
		return nil, closeAll, err
	}
	closers = append(closers, b.docker.Close)
	opts := cluster.Options{Name: clusterName, Kubeconfig: filepath.Join(b.root, "kubeconfig"), Progress: func(s string) { log.Print(s) }}
	closers = append(closers, func() error {
		_, err := cluster.Delete(context.WithoutCancel(ctx), opts)
		return err
	})
	if b.cluster, err = cluster.Create(ctx, opts); err != nil {
		return nil, closeAll, err
	}
	if b.kube, err = kube.New(opts.Kubeconfig, b.cluster.Context); err != nil {
		return nil, closeAll, err
	}
	closers = append(closers, func() error { b.kube.Close(); return nil })
	if b.store, err = registry.OpenStore(filepath.Join(b.root, "store")); err != nil {
		return nil, closeAll, err
	}
	closers = append(closers, func() error {
		_, err := registry.Remove(context.WithoutCancel(ctx), b.docker, b.store)
		return err
	})
	if b.ep, err = registry.Ensure(ctx, b.docker, b.store, func(s string) { log.Print(s) }); err != nil {
		return nil, closeAll, err
	}
	if err = b.ep.Connect(ctx, b.docker, b.cluster.Nodes, b.kube.Core.CoreV1()); err != nil {
		return nil, closeAll, err
	}
	projects := filepath.Join(b.root, "projects")
	if err = os.Mkdir(projects, 0o755); err != nil {
		return nil, closeAll, err
	}
	if b.index, err = tree.Open(projects); err != nil {
		return nil, closeAll, err
	}
	closers = append(closers, b.index.Close)
	b.builder = build.New(b.docker, b.store, b.ep, b.index)
	return b, closeAll, nil
}

// A service is a project with one image and one Deployment.
type service struct {
	name, dir string
	spec      build.Spec
}

func (b *bench) service(ctx context.Context, name, dockerfile string) (*service, error) {
	s := &service{name: name, dir: filepath.Join(b.index.Root(), name)}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		return nil, err
	}
	s.spec = build.Spec{Project: "bench", Service: name, Root: b.index.Root(), Context: s.dir, Dockerfile: filepath.Join(s.dir, "Dockerfile"), Platform: "linux/amd64"}
	if err := os.WriteFile(s.spec.Dockerfile, []byte(dockerfile), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(s.dir, ".dockerignore"), []byte("Dockerfile\n.dockerignore\n"), 0o644); err != nil {
		return nil, err
	}
	// Beside what changes, a layer has something to carry.
	if err := os.WriteFile(filepath.Join(s.dir, "data"), bytes.Repeat([]byte("some data of the application\n"), 4000), 0o644); err != nil {
		return nil, err
	}
	mark, err := b.edit(s)
	if err != nil {
		return nil, err
	}
	log.Printf("building %s", name)
	r, err := b.builder.Build(ctx, s.spec, nil)
	if err != nil {
		return nil, err
	}
	log.Printf("%s: %s (%s), %v", name, r.Rung, r.Why, r.Took.Round(time.Millisecond))
	if err := b.deploy(ctx, s, r.Ref); err != nil {
		return nil, err
	}
	if err := running(ctx, mark); err != nil {
		return nil, err
	}
	return s, b.settled(ctx, s)
}

// edit saves a new version and returns what its process carries.
func (b *bench) edit(s *service) (mark string, err error) {
	b.version++
	mark = fmt.Sprintf("KDEV_BENCH=%s-%d-%d", s.name, os.Getpid(), b.version)
	return mark, os.WriteFile(filepath.Join(s.dir, "run.sh"), []byte(mark+" exec sleep 100000\n"), 0o644)
}

// edits measures from before the save to the new process.
func (b *bench) edits(ctx context.Context, s *service, runs int) ([]result, error) {
	var whole, built, moved []float64
	for range runs {
		before, err := b.sent(ctx)
		if err != nil {
			return nil, err
		}
		start := time.Now()
		mark, err := b.edit(s)
		if err != nil {
			return nil, err
		}
		r, err := b.builder.Build(ctx, s.spec, nil)
		if err != nil {
			return nil, err
		}
		built = append(built, ms(start))
		if err := b.patch(ctx, s, r.Ref, ""); err != nil {
			return nil, err
		}
		if err := running(ctx, mark); err != nil {
			return nil, err
		}
		whole = append(whole, ms(start))
		if err := b.settled(ctx, s); err != nil {
			return nil, err
		}
		after, err := b.sent(ctx)
		if err != nil {
			return nil, err
		}
		moved = append(moved, float64(after-before))
	}
	total := summary(s.name+": save to new process", whole)
	total.Moved = int64(median(moved))
	return []result{total, summary(s.name+": of that, build and store", built)}, nil
}

// floor measures a rollout where there is nothing to build and to pull: two
// references that the node has, with a variable that tells the runs apart.
func (b *bench) floor(ctx context.Context, s *service, runs int) (result, error) {
	var refs [2]string
	for i := range refs {
		mark, err := b.edit(s)
		if err != nil {
			return result{}, err
		}
		r, err := b.builder.Build(ctx, s.spec, nil)
		if err != nil {
			return result{}, err
		}
		refs[i] = r.Ref
		if err := b.rollout(ctx, s, r.Ref, "", mark); err != nil {
			return result{}, err
		}
	}
	var times []float64
	for i := range runs {
		run := fmt.Sprintf("%s-%d-%d", s.name, os.Getpid(), i)
		start := time.Now()
		if err := b.patch(ctx, s, refs[i%2], run); err != nil {
			return result{}, err
		}
		if err := running(ctx, "KDEV_BENCH_RUN="+run); err != nil {
			return result{}, err
		}
		times = append(times, ms(start))
		if err := b.settled(ctx, s); err != nil {
			return result{}, err
		}
	}
	return summary("floor: new reference to new process", times), nil
}

func (b *bench) rollout(ctx context.Context, s *service, ref, run, mark string) error {
	if err := b.patch(ctx, s, ref, run); err != nil {
		return err
	}
	if err := running(ctx, mark); err != nil {
		return err
	}
	return b.settled(ctx, s)
}

func ms(since time.Time) float64 { return float64(time.Since(since).Microseconds()) / 1000 }

func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[len(sorted)/2]
}

func summary(name string, v []float64) result {
	return result{Name: name, P50: median(v), Max: slices.Max(v), All: v}
}

// running waits for a process that carries the mark: the node's processes are
// this machine's. What ran before may still end; a process is new when its mark
// is. Those that were there at the first look are not looked at again, and
// between looks there is a pause: a busy loop would take one core from what is measured.
func running(ctx context.Context, mark string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	pause := time.NewTicker(2 * time.Millisecond)
	defer pause.Stop()
	old := map[string]bool{}
	for first := true; ; first = false {
		procs, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			return err
		}
		for _, p := range procs {
			if old[p] {
				continue
			}
			env, err := os.ReadFile(p + "/environ")
			if err == nil && strings.Contains(string(env), mark+"\x00") {
				return nil
			}
			if first {
				old[p] = true
			}
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return fmt.Errorf("no process with %s: %w", mark, ctx.Err())
		}
	}
}
