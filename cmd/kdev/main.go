// Command kdev is the local development loop for Kubernetes.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/kdev-io/kdev/internal/cli"
)

func main() {
	dir, err := os.Getwd()
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: finding the working directory: %v\n", err)
		os.Exit(1)
	}
	os.Exit(cli.Main(context.Background(), cli.Env{
		In:     os.Stdin,
		Out:    os.Stdout,
		Err:    os.Stderr,
		Dir:    dir,
		Getenv: os.Getenv,
	}, os.Args[1:]))
}
