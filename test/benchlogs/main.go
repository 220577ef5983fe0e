// Command benchlogs measures what docs/logs.md claims of `kdev logs`, and prints each
// figure beside its aim.
//
//	go run ./test/benchlogs -kdev bin/kdev                 from memory, and from a fake API server beside stern
//	go run ./test/benchlogs -kdev bin/kdev -cluster NAME   also on the kind cluster NAME, which is made and removed
//	go run ./test/benchlogs -kdev bin/kdev -cluster NAME -keep
//
// Stern and kubectl are measured where they are on the PATH; figures that compare with
// one that is not there are left out. Alone on the machine the figures are those of the
// machine; otherwise compare with the floors, which are measured in the same run.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/kdev-io/kdev/test/figures"
)

func main() {
	b := &bench{table: figures.Table{Out: os.Stderr}}
	flag.StringVar(&b.kdev, "kdev", "bin/kdev", "the kdev to measure")
	flag.IntVar(&b.lines, "lines", 1_000_000, "lines in the log from memory and from the fake server")
	flag.IntVar(&b.rounds, "rounds", 5, "runs of each; the fastest counts")
	flag.StringVar(&b.cluster, "cluster", "", "name of a kind cluster to measure on too")
	flag.BoolVar(&b.keep, "keep", false, "leave the cluster, and use it if it is there")
	flag.StringVar(&b.only, "only", "", "measure just this part: memory, peers, resume, or a part of the cluster's: file, open, first, latency")
	drained := flag.String("drain", "", "read the log of the fake server of this kubeconfig and drop it: the floor of the comparison with peers")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	work := b.run
	if *drained != "" {
		work = func(ctx context.Context) error { return drain(ctx, *drained) }
	}
	if err := work(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "benchlogs:", err)
		os.Exit(1)
	}
}

// A bench is one run of the program.
type bench struct {
	kdev          string
	lines, rounds int
	cluster, only string
	keep          bool
	table         figures.Table
}

// A figure is one row of the table.
type figure = figures.Figure

func (b *bench) run(ctx context.Context) error {
	path, err := exec.LookPath(b.kdev)
	if err != nil {
		return err
	}
	b.kdev = path
	for _, part := range []struct {
		name    string
		measure func(context.Context) error
	}{{"memory", b.memory}, {"resume", b.resume}, {"peers", b.peers}} {
		if b.wants(part.name) {
			if err := part.measure(ctx); err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
		}
	}
	if b.cluster != "" {
		if err := b.onCluster(ctx); err != nil {
			return err
		}
	}
	return b.table.WriteJSON(os.Stdout)
}

func (b *bench) wants(part string) bool { return b.only == "" || b.only == part }

func (b *bench) add(f figure) { b.table.Add(f) }
