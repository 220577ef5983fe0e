// Command benchsync measures what a save costs on a real cluster, from the
// written file to what a container shows, through watcher, session, mirror and
// agent as `kdev up` has them.
//
//	go run ./test/benchsync                     table on stderr, JSON on stdout
//	go run ./test/benchsync -only saves,many    some pieces of it
//
// It makes a kind cluster of its own and removes it, with a store and a registry
// of its own. A container's files are read through /proc of one of its processes,
// so that looking costs no exec and no request: it has to run as root on the machine
// that the node runs on. Each figure stands beside its aim; alone on the machine
// it is that of the machine.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
)

// options are what a person may choose.
type options struct {
	saves    int
	rewrites int
	keep     bool
}

// A piece is a part that can be run by itself: it brings a project up, measures,
// and leaves.
type piece struct {
	name string
	run  func(context.Context, *rig, options) ([]result, error)
}

var pieces = []piece{
	{"saves", saves},
	{"replicas", replicas},
	{"many", many},
	{"branch", branch},
	{"big", big},
	{"restart", restart},
	{"swap", swap},
	{"far", far},
	{"outage", outage},
	{"rewrites", rewrites},
}

func main() {
	log.SetFlags(0)
	var o options
	flag.IntVar(&o.saves, "saves", 500, "saves to measure")
	flag.IntVar(&o.rewrites, "rewrites", 10000, "rewrites under a reader")
	flag.BoolVar(&o.keep, "keep", false, "leave the cluster for the next run")
	var names []string
	for _, p := range pieces {
		names = append(names, p.name)
	}
	profile := flag.String("profile", "", "write a CPU profile to this file")
	only := flag.String("only", strings.Join(names, ","), "pieces to run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	stopProfile, err := startProfile(*profile)
	if err != nil {
		log.Fatalf("benchsync: %v", err)
	}
	results, err := measure(ctx, strings.Split(*only, ","), o)
	stopProfile()
	if encodeErr := json.NewEncoder(os.Stdout).Encode(results); err == nil {
		err = encodeErr
	}
	if err != nil {
		log.Fatalf("benchsync: %v", err)
	}
}

// startProfile writes a CPU profile to a file until it is stopped; none without a name.
func startProfile(name string) (stop func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		if err := f.Close(); err != nil {
			log.Print(err)
		}
	}, nil
}

func measure(ctx context.Context, only []string, o options) (results []result, err error) {
	for _, name := range only {
		if !slices.ContainsFunc(pieces, func(p piece) bool { return p.name == name }) {
			return nil, fmt.Errorf("there is no piece %q", name)
		}
	}
	r, closeRig, err := newRig(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closeErr := closeRig(); err == nil {
			err = closeErr
		}
	}()
	for _, p := range pieces {
		if !slices.Contains(only, p.name) {
			continue
		}
		log.Printf("%s (load %s)", p.name, load())
		rows, err := p.run(ctx, r, o)
		for _, row := range rows {
			log.Print(row)
		}
		results = append(results, rows...)
		if err != nil {
			return results, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return results, nil
}

// load is what else the machine does.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	one, _, _ := strings.Cut(string(text), " ")
	return one
}
