// testapp is the application of test containers: static, so that it runs on
// scratch. It says what it found when it started, serves the files of its
// container over HTTP, and can be told to fail.
package main

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	dir, address := "/app", ":8080"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	data, _ := os.ReadFile(dir + "/data.txt")
	fmt.Printf("started with %q\n", strings.TrimSpace(string(data)))
	if strings.HasPrefix(string(data), "fail") {
		os.Exit(3)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM)
	go func() {
		for sig := range signals {
			if sig == syscall.SIGTERM {
				os.Exit(0)
			}
			data, _ := os.ReadFile(dir + "/data.txt")
			fmt.Printf("reloaded %q\n", strings.TrimSpace(string(data)))
		}
	}()
	// Eats memory until the kernel ends it.
	http.HandleFunc("/-/eat", func(http.ResponseWriter, *http.Request) {
		var all [][]byte
		for len(all) < 1<<20 { // a tebibyte: the limit comes first
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			all = append(all, b)
		}
	})
	http.HandleFunc("/-/exit", func(http.ResponseWriter, *http.Request) { os.Exit(9) })
	http.HandleFunc("/-/started", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.TrimSpace(string(data))) })
	http.Handle("/", http.FileServer(http.Dir("/")))
	server := &http.Server{Addr: address, ReadHeaderTimeout: time.Second}
	fmt.Println(server.ListenAndServe())
	os.Exit(1)
}
