// Command gen fills internal/embedded/bin; `make build` runs it before it
// compiles kdev. A program that is up to date is left alone.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/kdev-io/kdev/internal/embedded"
)

func main() {
	log.SetFlags(0)
	root := flag.String("root", ".", "folder of the module")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for _, name := range embedded.Programs {
		for _, arch := range embedded.Architectures {
			if err := generate(ctx, *root, name, arch); err != nil {
				log.Fatalf("gen: %v", err)
			}
		}
	}
}

func generate(ctx context.Context, root, name, arch string) error {
	packed, err := embedded.Source(ctx, root, name, arch)
	if err != nil {
		return err
	}
	path := filepath.Join(root, "internal", "embedded", "bin", embedded.FileName(name, arch))
	// An unchanged file keeps its time, so that Go need not link kdev again.
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, packed) {
		return nil
	}
	fmt.Printf("%s: %d KiB\n", filepath.Base(path), len(packed)>>10)
	return os.WriteFile(path, packed, 0o644)
}
