// Command kdev-registry serves a store folder to a cluster. It is the only
// program of the container that internal/registry makes, so it is small,
// static and keeps nothing in memory.
//
// Two listeners, two sides: nodes pull from -cluster, which lets nobody write
// and fetches from other registries what the store lacks;
// this machine's engine pushes to -host, which is published on 127.0.0.1 only
// and writes for who has the token.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/kdev-io/kdev/internal/registry/distribution"
	"github.com/kdev-io/kdev/internal/registry/layout"
	"github.com/kdev-io/kdev/internal/registry/pullthrough"
)

func main() {
	log.SetFlags(0)
	store := flag.String("store", "/store", "folder of the image store")
	cluster := flag.String("cluster", ":5000", "address for the nodes, read-only")
	host := flag.String("host", ":5001", "address for this machine, writes with the token")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The token comes by the environment: arguments are seen by every user of the machine.
	if err := serve(ctx, *store, *cluster, *host, os.Getenv("KDEV_REGISTRY_TOKEN")); err != nil {
		log.Fatalf("kdev-registry: %v", err)
	}
}

func serve(ctx context.Context, dir, cluster, host, token string) error {
	store, err := layout.Open(dir)
	if err != nil {
		return err
	}
	store.OnDrop(func(line string) { log.Printf("dropped %s", line) })
	upstream := pullthrough.New(store, func(line string) { log.Print(line) })
	defer upstream.Close()
	// No read or write timeout: a layer may take long. A silent peer is
	// ended by the header and idle timeouts.
	server := func(addr string, o distribution.Options) *http.Server {
		return &http.Server{Addr: addr, Handler: distribution.Handler(store, o), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	}
	servers := []*http.Server{
		server(cluster, distribution.Options{Upstream: upstream}),
		server(host, distribution.Options{Token: token, Challenge: true, Upstream: upstream}),
	}
	failed := make(chan error, len(servers))
	for _, s := range servers {
		go func() { failed <- s.ListenAndServe() }()
	}
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	// A pull that is under way may end, within the engine's ten seconds to stop.
	end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, s := range servers {
		if serr := s.Shutdown(end); serr != nil {
			s.Close()
		}
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("serve %s: %w", dir, err)
	}
	return nil
}
