// Command offline gives a bare Debian machine what kdev's tests need: a Docker engine, a kind node image, base images.
//
//	go run ./hack/offline all           everything below; done again, it takes a second
//	go run ./hack/offline engine        a Docker engine that can run kind's nodes
//	go run ./hack/offline node-image    kind's default node image, or one made here
//	go run ./hack/offline base-images   python:3-slim, golang:1.26, redis:7 and the like; behind "all" and "base-images"
//	                                    the names of those that are wanted, if not all of them are
//	go run ./hack/offline status        what is there
//	go run ./hack/offline clean         removes what was made
//
// On a machine that reaches a registry, images are pulled; on one that does not, they are made from Debian packages, Go
// modules and npm packages. Nothing is done twice: see hack/README.md for what is kept, and where.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/kdev-io/kdev/hack/internal/baseimage"
	"github.com/kdev-io/kdev/hack/internal/cache"
	"github.com/kdev-io/kdev/hack/internal/docker"
	"github.com/kdev-io/kdev/hack/internal/engine"
	"github.com/kdev-io/kdev/hack/internal/nodeimage"
	"github.com/kdev-io/kdev/hack/internal/step"
	"github.com/kdev-io/kdev/internal/problem"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(report(run(ctx, os.Args[1:])))
}

// usage is a Problem so that it gets the exit code of one.
func usage() error {
	return &problem.Problem{
		Class: problem.Usage, Code: "offline-usage", Summary: "one command, please",
		Hint: "all, engine, node-image, base-images, status or clean",
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 || len(args) > 1 && args[0] != "all" && args[0] != "base-images" {
		return usage()
	}
	names := args[1:]
	kept, err := cache.Open()
	if err != nil {
		return err
	}
	source, err := root()
	if err != nil {
		return err
	}
	log := step.NewLog(os.Stdout)
	pulls := &docker.Puller{}
	base := &baseimage.Maker{Log: log, Cache: kept, Pulls: pulls}
	node := &nodeimage.Maker{Log: log, Cache: kept, Pulls: pulls, Base: base, Source: source}
	machine := &engine.Engine{Log: log, Source: source}

	switch args[0] {
	case "status":
		return status(ctx, os.Stdout, kept)
	case "all", "engine", "node-image", "base-images", "clean":
	default:
		return usage()
	}
	release, err := kept.Lock(ctx, func() { log.Say("offline", "another run is at work: waiting for it") })
	if err != nil {
		return err
	}
	defer release()

	if args[0] == "clean" {
		return clean(ctx, os.Stdout, kept)
	}
	if err := machine.Ensure(ctx); err != nil {
		return err
	}
	switch args[0] {
	case "node-image":
		return node.Ensure(ctx)
	case "base-images":
		return base.Ensure(ctx, names...)
	case "all":
		// Compiles fill the time in which package managers wait.
		return both(ctx, node.Ensure, func(ctx context.Context) error { return base.Ensure(ctx, names...) })
	}
	return nil
}

// both runs a and b at the same time. The first that fails ends the other, and its error is the one that is returned.
func both(ctx context.Context, a, b func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wait sync.WaitGroup
	for _, f := range []func(context.Context) error{a, b} {
		wait.Go(func() {
			if err := f(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wait.Wait()
	return context.Cause(ctx)
}

// root finds kdev's sources: the nearest folder upwards with its go.mod.
func root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module github.com/kdev-io/kdev\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", &problem.Problem{
				Class: problem.Usage, Code: "offline-source", Summary: "this is not a checkout of kdev",
				Hint: "run it inside of one: go run ./hack/offline all",
			}
		}
	}
}

// report prints an error as a person needs it, and returns the exit code.
func report(err error) int {
	if err == nil {
		return 0
	}
	if step.Interrupted(err) {
		fmt.Fprintln(os.Stderr, "offline: interrupted; the next run goes on from what is finished")
		return 130
	}
	fmt.Fprintln(os.Stderr, "offline:", err)
	p := problem.As(err)
	if p == nil {
		return 1
	}
	if p.Output != "" {
		fmt.Fprintln(os.Stderr, "  | "+strings.ReplaceAll(p.Output, "\n", "\n  | "))
	}
	if p.Hint != "" {
		fmt.Fprintln(os.Stderr, "hint:", p.Hint)
	}
	return p.ExitCode()
}
