package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// gcOptions are the flags of `kdev registry gc`.
type gcOptions struct {
	env    Env
	keep   int
	maxAge time.Duration
	dryRun bool
	force  bool
	output string
}

func newRegistryGC(env Env) *cobra.Command {
	o := &gcOptions{env: env}
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove images that nothing uses from the image store and the nodes",
		Long: `Gc keeps what workloads and pods of the running local clusters name, what a build, a push
or a session holds at this moment, copies of upstream images that a tag names,
and the newest images of each repository. All else goes, from the store and from
the nodes. It is safe while builds run.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(cmd, o.output, "text", "json"); err != nil {
				return err
			}
			if o.keep < 1 {
				return usageError(cmd, "--keep is at least 1")
			}
			return o.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.keep, "keep", 3, "images of each repository that stay, the newest ones")
	f.DurationVar(&o.maxAge, "max-age", 0, "drop newest ones too when they are older, for example 720h (default: age does not matter)")
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would go, and why the rest stays")
	f.BoolVar(&o.force, "force", false, "go on when a cluster that runs, or the engine, cannot be asked what is used")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	return cmd
}

func (o *gcOptions) run(ctx context.Context) error {
	store, err := openStore()
	if err != nil {
		return err
	}
	docker, err := client.New(client.FromEnv)
	if err != nil {
		return fmt.Errorf("finding the container engine: %w", err)
	}
	defer docker.Close()
	live, nodes, err := o.live(ctx, store, docker)
	if err != nil {
		return err
	}
	report, err := store.Collect(ctx, layout.Policy{Keep: o.keep, Live: live, MaxAge: o.maxAge, DryRun: o.dryRun})
	if err != nil {
		return fmt.Errorf("collect the image store: %w", err)
	}
	// After the store: a node keeps what the store keeps.
	onNodes, err := registry.Known(store).CollectNodes(ctx, docker, report.Kept, nodes, o.dryRun)
	if err != nil {
		return fmt.Errorf("collect the nodes' images: %w", err)
	}
	return o.report(report, onNodes)
}

var (
	digestInRef = regexp.MustCompile(`@(sha256:[0-9a-f]{64})`)
	imageInJSON = regexp.MustCompile(`"image":"([^"@]+)"`)
)

// live are the digests that workloads and pods of the local clusters name, and
// the nodes of those clusters. Where no engine is installed there are none; one
// that does not answer may have some, and they go on when it is back.
func (o *gcOptions) live(ctx context.Context, store *registry.Store, docker *client.Client) (live []layout.Digest, nodes []string, err error) {
	list, err := cluster.List(ctx, cluster.Options{})
	missing := problem.As(err)
	switch {
	case ctx.Err() != nil:
		return nil, nil, ctx.Err()
	case err == nil:
		// Another engine may have answered in the place of one that may not be asked.
		if _, ping := docker.Ping(ctx, client.PingOptions{}); ping == nil || !strings.Contains(ping.Error(), "permission denied") {
			break
		} else if err = o.unknown(&problem.Problem{Summary: "this user may not use the container engine", Err: ping}); err != nil {
			return nil, nil, err
		}
	case missing == nil || missing.Code != "engine-missing":
		return nil, nil, err
	case missing.Err == nil && os.Getenv("KIND_EXPERIMENTAL_PROVIDER") == "" && !answers(ctx, docker):
		return nil, nil, nil
	default:
		return nil, nil, o.unknown(missing)
	}
	for _, c := range list {
		if c.State == "stopped" {
			fmt.Fprintf(o.env.Err, "note: cluster %s is stopped: what its pods use is not known, and does not stay for that\n", c.Name)
			continue
		}
		used, err := imagesOf(ctx, c.Context, store)
		switch {
		case err == nil:
			nodes = append(nodes, c.Nodes...)
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case o.force:
			fmt.Fprintf(o.env.Err, "warning: cluster %s cannot be asked what it uses: %v\n", c.Name, err)
		default:
			return nil, nil, &problem.Problem{
				Code: "gc-cluster-unknown", Summary: "cluster " + c.Name + " cannot be asked which images it uses", Err: err,
				Hint: "stop or delete it, or go on with --force: its pods may then lose images that they have not pulled yet",
			}
		}
		live = append(live, used...)
	}
	return live, nodes, nil
}

// unknown refuses, or warns where it is forced: of an engine's clusters it cannot be
// known what they use.
func (o *gcOptions) unknown(engine *problem.Problem) error {
	if o.force {
		fmt.Fprintf(o.env.Err, "warning: %s: what its clusters use is not known, and does not stay for that\n", engine.Summary)
		return nil
	}
	hint := "go on with --force: pods of its clusters may then lose images that they have not pulled yet"
	if engine.Hint != "" {
		hint = engine.Hint + "; or " + hint
	}
	return &problem.Problem{
		Code: "gc-cluster-unknown", Where: engine.Where, Err: engine.Err, Output: engine.Output, Hint: hint,
		Summary: engine.Summary + ", so it cannot be known which images its clusters use",
	}
}

// answers says whether there is an engine without a client of its own on this machine.
func answers(ctx context.Context, docker *client.Client) bool {
	_, err := docker.Ping(ctx, client.PingOptions{})
	return err == nil
}

// imagesOf are the images that pods and what makes pods name. Replica sets of
// earlier revisions are not asked: a rollback of more than the kept images builds.
func imagesOf(ctx context.Context, contextName string, store *registry.Store) ([]layout.Digest, error) {
	if contextName == "" {
		return nil, fmt.Errorf("the kubeconfig has no context for it")
	}
	kc, err := kube.New("", contextName)
	if err != nil {
		return nil, err
	}
	defer kc.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var live []layout.Digest
	all := metav1.ListOptions{}
	apps, batch := kc.Core.AppsV1(), kc.Core.BatchV1()
	lists := []func() (any, error){
		func() (any, error) { return kc.Core.CoreV1().Pods("").List(ctx, all) },
		func() (any, error) { return apps.Deployments("").List(ctx, all) },
		func() (any, error) { return apps.StatefulSets("").List(ctx, all) },
		func() (any, error) { return apps.DaemonSets("").List(ctx, all) },
		func() (any, error) { return batch.Jobs("").List(ctx, all) },
		func() (any, error) { return batch.CronJobs("").List(ctx, all) },
	}
	for _, list := range lists {
		objects, err := list()
		if err != nil {
			return nil, kc.Unreachable(err)
		}
		text, err := json.Marshal(objects)
		if err != nil {
			return nil, err
		}
		live = append(live, namedIn(text, store)...)
	}
	return live, nil
}

// namedIn are the images that objects in JSON name: by digest, or by a tag of the
// store under a host that it has. A CronJob that somebody applied by hand names
// its image by no digest, and no pod of it has pulled it yet.
func namedIn(text []byte, store *registry.Store) []layout.Digest {
	var live []layout.Digest
	for _, m := range digestInRef.FindAllSubmatch(text, -1) {
		live = append(live, layout.Digest(m[1]))
	}
	for _, m := range imageInJSON.FindAllSubmatch(text, -1) {
		for _, ep := range []*registry.Endpoint{registry.Known(store), registry.Local()} {
			name, ok := strings.CutPrefix(string(m[1]), ep.Host+"/")
			if !ok {
				continue
			}
			repo, tag, tagged := strings.Cut(name, ":")
			if !tagged {
				tag = "latest"
			}
			if e, err := store.Resolve(repo, tag); err == nil {
				live = append(live, e.Digest)
			}
			break
		}
	}
	return live
}

// collected is what --output json writes.
type collected struct {
	APIVersion string         `json:"apiVersion"`
	DryRun     bool           `json:"dryRun"`
	Removed    []removedDoc   `json:"removed"`
	Kept       []keptDoc      `json:"kept"`
	Blobs      int            `json:"blobs"` // removed
	Bytes      int64          `json:"bytes"` // freed
	Size       int64          `json:"size"`  // that stays
	Nodes      []nodeDocument `json:"nodes,omitempty"`
}

type removedDoc struct {
	Image  string `json:"image"`
	Digest string `json:"digest"`
}

type keptDoc struct {
	removedDoc
	Why string `json:"why"`
}

type nodeDocument struct {
	Name    string   `json:"name"`
	Removed []string `json:"removed"`
	Kept    int      `json:"kept"`
}

func (o *gcOptions) report(r *layout.Report, nodes []registry.NodeImages) error {
	doc := collected{APIVersion: apiVersion, DryRun: o.dryRun, Removed: []removedDoc{}, Kept: []keptDoc{}, Blobs: r.Blobs, Bytes: r.Bytes, Size: r.Size}
	for _, e := range r.Removed {
		doc.Removed = append(doc.Removed, removedDoc{nameOf(e), string(e.Digest)})
	}
	for _, e := range r.Kept {
		doc.Kept = append(doc.Kept, keptDoc{removedDoc{nameOf(e.Entry), string(e.Digest)}, e.Why})
	}
	for _, n := range nodes {
		doc.Nodes = append(doc.Nodes, nodeDocument{n.Node, n.Removed, n.Kept})
	}
	if o.output == "json" {
		return writeJSON(o.env.Out, doc)
	}
	verb, freed := "removed", "freed"
	if o.dryRun {
		verb, freed = "would remove", "would free"
	}
	for _, e := range doc.Removed {
		fmt.Fprintf(o.env.Out, "%s %s\n", verb, e.Image)
	}
	if o.dryRun {
		for _, e := range doc.Kept {
			fmt.Fprintf(o.env.Out, "keeps %s: %s\n", e.Image, o.why(e.Why))
		}
	}
	for _, n := range doc.Nodes {
		for _, ref := range n.Removed {
			fmt.Fprintf(o.env.Out, "%s %s from node %s\n", verb, ref, n.Name)
		}
	}
	_, err := fmt.Fprintf(o.env.Out, "%s %s in %d blobs; %s stay\n", freed, megabytes(doc.Bytes), doc.Blobs, megabytes(doc.Size))
	return err
}

// why says why an image stays, and with that when it goes.
func (o *gcOptions) why(kept string) string {
	switch kept {
	case "live":
		return "a pod or workload uses it; goes when none does and newer ones are there"
	case "leased":
		return "a build, a push or a session holds it; goes when that has ended"
	case "newest":
		if o.keep == 1 {
			return "the newest of its repository; goes when a newer one is there"
		}
		return fmt.Sprintf("one of the %d newest of its repository; goes when %d newer ones are there", o.keep, o.keep)
	case "mirror":
		return "a copy of an upstream image; goes when the tag names another one"
	case "foreign":
		return "another program put it into the store; that one removes it"
	}
	return kept
}

func nameOf(e layout.Entry) string {
	if e.Tag == "" {
		return e.Repository + "@" + string(e.Digest)
	}
	return e.Repository + ":" + e.Tag
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
