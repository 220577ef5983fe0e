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
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

func main() {
	b := &bench{}
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
	figures       []figure
}

// A figure is one row of the table. Aim is the issue's; 0 has none, and is there to
// compare with.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Aim   float64 `json:"aim,omitempty"`
	Least bool    `json:"least,omitempty"` // the aim is the least that is good enough, not the most
}

func (f figure) holds() bool {
	return f.Aim == 0 || f.Least && f.Value >= f.Aim || !f.Least && f.Value <= f.Aim
}

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
	return json.NewEncoder(os.Stdout).Encode(b.figures)
}

func (b *bench) wants(part string) bool { return b.only == "" || b.only == part }

// add prints a figure as soon as it is known: the whole takes minutes.
func (b *bench) add(f figure) {
	b.figures = append(b.figures, f)
	aim := ""
	if f.Aim != 0 {
		sign, verdict := "at most", "holds"
		if f.Least {
			sign = "at least"
		}
		if !f.holds() {
			verdict = "FALLS SHORT"
		}
		aim = fmt.Sprintf("%s %.4g: %s", sign, f.Aim, verdict)
	}
	fmt.Fprintf(os.Stderr, "%-64s %12.5g %-8s %s\n", f.Name, f.Value, f.Unit, aim)
}
