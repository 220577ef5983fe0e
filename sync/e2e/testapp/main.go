// testapp is the application of test containers: static, so that it runs on
// scratch. It says what it found when it started, serves the files of its
// container over HTTP, and can be told to fail.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	dir, address := "/app", ":8080"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	if filepath.Base(os.Args[0]) == "init" && os.Getpid() != 1 {
		fmt.Println("can only run as the first process") // as s6-overlay says it
		os.Exit(100)
	}
	data, _ := os.ReadFile(dir + "/data.txt")
	fmt.Printf("started with %q\n", strings.TrimSpace(string(data)))
	if strings.HasPrefix(string(data), "fail") {
		os.Exit(3)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		for sig := range signals {
			switch sig {
			case syscall.SIGTERM:
				fmt.Println("told to end")
				os.Exit(0)
			case syscall.SIGINT:
				os.Exit(17)
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
	http.HandleFunc("/-/tree", func(w http.ResponseWriter, r *http.Request) { tree(w, r.URL.Query().Get("dir")) })
	http.HandleFunc("/-/fill", func(_ http.ResponseWriter, r *http.Request) { fill(r.URL.Query().Get("dir")) })
	http.HandleFunc("/-/free", func(_ http.ResponseWriter, r *http.Request) { os.Remove(filler(r.URL.Query().Get("dir"))) })
	http.HandleFunc("/-/terminal", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, terminal()) })
	http.HandleFunc("/-/exit", func(http.ResponseWriter, *http.Request) { os.Exit(9) })
	began := time.Now().UnixNano()
	http.HandleFunc("/-/since", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, began) })
	http.HandleFunc("/-/started", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.TrimSpace(string(data))) })
	http.Handle("/", http.FileServer(http.Dir("/")))
	server := &http.Server{Addr: address, ReadHeaderTimeout: time.Second}
	fmt.Println(server.ListenAndServe())
	os.Exit(1)
}

// terminal says how the application stands to its terminal.
func terminal() string {
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return err.Error()
	}
	// pid (name) state ppid pgrp session tty_nr tpgid (proc_pid_stat(5)).
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	switch {
	case f[4] == "0":
		return "none"
	case f[2] == f[5]:
		return "foreground"
	}
	return "background"
}

// tree lists all that is in a folder, in the words of the test's own list of the
// local one.
func tree(w io.Writer, dir string) {
	filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || p == dir || p == filler(dir) {
			return nil
		}
		fmt.Fprintln(w, line(strings.TrimPrefix(p, dir+"/"), p, e))
		return nil
	})
}

// line describes one path.
func line(name, p string, e fs.DirEntry) string {
	info, err := e.Info()
	if err != nil {
		return name + " " + err.Error()
	}
	switch {
	case info.IsDir():
		return name + "/"
	case info.Mode()&fs.ModeSymlink != 0:
		to, _ := os.Readlink(p)
		return name + " -> " + to
	}
	content, err := os.ReadFile(p)
	if err != nil {
		return name + " " + err.Error()
	}
	return fmt.Sprintf("%s %o %x", name, info.Mode().Perm(), sha256.Sum256(content))
}

func filler(dir string) string { return filepath.Join(dir, ".filler") }

// fill leaves no space in a folder.
func fill(dir string) {
	f, err := os.Create(filler(dir))
	if err != nil {
		return
	}
	defer f.Close()
	for _, size := range []int{64 << 10, 1} {
		for b := make([]byte, size); err == nil; {
			_, err = f.Write(b)
		}
		err = nil
	}
}
