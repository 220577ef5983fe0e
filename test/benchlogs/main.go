// Command benchlogs compares `kdev logs` with stern and kubectl, where they are on
// the PATH: the same lines from the same fake API server, written to a file.
//
//	go run ./test/benchlogs -kdev bin/kdev
//
// It prints for each the wall time, the CPU time of the process and lines per second
// of CPU, and how many times kdev's CPU time fits into stern's.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/kdev-io/kdev/internal/testkube"
)

func main() {
	kdev := flag.String("kdev", "bin/kdev", "the kdev to measure")
	n := flag.Int("lines", 1_000_000, "lines in the log")
	rounds := flag.Int("rounds", 3, "runs of each; the fastest counts")
	flag.Parse()
	if err := run(*kdev, *n, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "benchlogs:", err)
		os.Exit(1)
	}
}

func run(kdev string, n, rounds int) error {
	server := testkube.Start()
	defer server.Close()
	if err := server.Put(testkube.Pod("default", "web-5d9c7bd6f8-x2x4j", "web")); err != nil {
		return err
	}
	log := server.Log("default", "web-5d9c7bd6f8-x2x4j", "web")
	log.Preload(lines(n))
	log.End()
	dir, err := os.MkdirTemp("", "benchlogs")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	config, err := server.Kubeconfig(dir, "fake", "default")
	if err != nil {
		return err
	}
	flags := []string{"--kubeconfig", config, "web", "--no-follow", "--only-log-lines", "--color=never", "--since=876000h"}
	var table []result
	for _, kind := range []struct {
		name string
		more []string
	}{{"default", nil}, {"-i ERROR", []string{"-i", "ERROR"}}, {"-i 'status=5..'", []string{"-i", "status=5.."}}, {"-i request", []string{"-i", "request"}}, {"-t", []string{"-t"}}, {"-o json", []string{"-o", "json"}}} {
		for _, tool := range []tool{
			{"kdev", kdev, append([]string{"logs"}, append(slices.Clone(flags), kind.more...)...)},
			{"stern", "stern", append(slices.Clone(flags), kind.more...)},
			{"kubectl", "kubectl", []string{"--kubeconfig", config, "logs", "web-5d9c7bd6f8-x2x4j", "--timestamps"}},
		} {
			if tool.name == "kubectl" && kind.name != "default" {
				continue
			}
			path, err := exec.LookPath(tool.path)
			if err != nil {
				fmt.Fprintf(os.Stderr, "%s is not on the PATH\n", tool.name)
				continue
			}
			best, err := measure(path, tool.args, dir, rounds)
			if err != nil {
				return fmt.Errorf("%s: %w", tool.name, err)
			}
			best.kind, best.tool = kind.name, tool.name
			table = append(table, best)
		}
	}
	report(table, n)
	return nil
}

type tool struct {
	name, path string
	args       []string
}

type result struct {
	kind, tool string
	wall, cpu  time.Duration
	bytes      int64
}

func measure(path string, args []string, dir string, rounds int) (result, error) {
	best := result{}
	for i := range rounds {
		out, err := os.Create(filepath.Join(dir, "out"))
		if err != nil {
			return best, err
		}
		cmd := exec.Command(path, args...)
		var errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = out, &errs
		cmd.Dir = dir
		start := time.Now()
		err = cmd.Run()
		wall := time.Since(start)
		size, _ := out.Seek(0, 2)
		out.Close()
		if err != nil {
			return best, fmt.Errorf("%w: %s", err, errs.String())
		}
		r := result{wall: wall, cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), bytes: size}
		if i == 0 || r.cpu < best.cpu {
			best = r
		}
	}
	return best, nil
}

func report(table []result, n int) {
	stern := map[string]result{}
	for _, r := range table {
		if r.tool == "stern" {
			stern[r.kind] = r
		}
	}
	fmt.Printf("%d lines of 120 bytes\n%-16s %-8s %9s %9s %14s %12s  %s\n", n, "output", "tool", "wall s", "cpu s", "lines/s of cpu", "bytes", "stern's cpu is")
	for _, r := range table {
		times := ""
		if s, ok := stern[r.kind]; ok && r.tool == "kdev" {
			times = fmt.Sprintf("%.1f times", s.cpu.Seconds()/r.cpu.Seconds())
		}
		fmt.Printf("%-16s %-8s %9.2f %9.2f %14.0f %12d  %s\n", r.kind, r.tool, r.wall.Seconds(), r.cpu.Seconds(), float64(n)/r.cpu.Seconds(), r.bytes, times)
	}
}

// lines makes messages of 120 bytes behind their times; one in a hundred is an error, all
// hold "request".
func lines(n int) []byte {
	var b bytes.Buffer
	at := time.Date(2020, 11, 21, 4, 0, 0, 0, time.UTC)
	for i := range n {
		at = at.Add(13 * time.Microsecond)
		word, status := "INFO", 200
		if i%100 == 0 {
			word, status = "ERROR", 503
		}
		msg := fmt.Sprintf("%s request %08d handled path=/api/v1/items/%d status=%d duration=12.5ms client=10.244.0.%d agent=curl/8.5.0", word, i, i%1000, status, i%250)
		fmt.Fprintf(&b, "%s %-120.120s\n", at.Format("2006-01-02T15:04:05.000000000Z07:00"), msg)
	}
	return b.Bytes()
}
