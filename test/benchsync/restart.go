package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A language is a service that has to be started again to run new code.
type language struct {
	name, base, file, command string
	argv                      []string
	source                    string // with the version for %s
	port                      int
}

var languages = []language{
	{"python", "python:3-slim", "server.py", `["python3", "server.py"]`, []string{"python3", "/app/server.py"}, `import http.server, os

VERSION = b"%s"

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(VERSION)))
        self.end_headers()
        self.wfile.write(VERSION)

    def log_message(self, *args):
        pass

http.server.HTTPServer(("", int(os.environ.get("BENCH_PORT", "18080"))), Handler).serve_forever()
`, 18080},
	{"node", "node:20-slim", "server.js", `["node", "server.js"]`, []string{"node", "/app/server.js"}, `const version = "%s";
require("http").createServer((_, answer) => answer.end(version)).listen(Number(process.env.BENCH_PORT || 18082));
`, 18082},
}

// A service is restarted in place: from the save until the new code answers,
// beside the time that the same program takes to start in the same container.
func restart(ctx context.Context, r *rig, _ options) (rows []result, err error) {
	p, err := r.newProject("restart")
	if err != nil {
		return nil, err
	}
	var services []service
	for _, l := range languages {
		services = append(services, service{name: l.name, base: l.base, command: l.command, replicas: 1, host: true, onSync: "[{restart: true}]"})
		if err := p.file(l.name+"/"+l.file, fmt.Sprintf(l.source, "first")); err != nil {
			return nil, err
		}
	}
	if err := p.declare(services...); err != nil {
		return nil, err
	}
	down, err := p.up(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, down()) }()
	for _, l := range languages {
		where, err := p.find(l.name, 1)
		if err != nil {
			return rows, err
		}
		var took, own []float64
		for i := range 15 {
			version := fmt.Sprintf("%s-%d", p.name, i)
			start := time.Now()
			if err := p.file(l.name+"/"+l.file, fmt.Sprintf(l.source, version)); err != nil {
				return rows, err
			}
			if err := p.answers(ctx, l.port, version); err != nil {
				return rows, err
			}
			took = append(took, ms(time.Since(start)))
			d, err := p.startTime(ctx, where[0], l, version)
			if err != nil {
				return rows, err
			}
			own = append(own, ms(d))
		}
		rows = append(rows,
			shown(l.name+": save -> the new code answers, p50", median(took), "ms").with(took),
			shown(l.name+": its own start, p50", median(own), "ms").with(own),
			atMost(l.name+": over its own start", median(took)-median(own), "ms", 60))
	}
	return rows, nil
}

// answers waits until the service at a port of the node answers with a version.
func (p *project) answers(ctx context.Context, port int, version string) error {
	return p.answersWithin(ctx, port, version, pause)
}

// answersWithin asks as often as every says.
func (p *project) answersWithin(ctx context.Context, port int, version string, every time.Duration) error {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	return ask(ctx, version, every, func() bool {
		answer, err := client.Get(fmt.Sprintf("http://%s:%d/", p.node, port))
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		return err == nil && string(text) == version
	})
}

// startTime starts the program once more beside the one that runs, on another
// port.
func (p *project) startTime(ctx context.Context, v view, l language, version string) (took time.Duration, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	args := append([]string{"--target", strconv.Itoa(v.pid), "--all", "env", "BENCH_PORT=" + strconv.Itoa(l.port+1)}, l.argv...)
	cmd := exec.CommandContext(ctx, "nsenter", args...)
	// In a process namespace that it did not begin in, a process can have no threads:
	// nsenter forks, and its child is in its group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var said strings.Builder
	cmd.Stderr = &said
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	err = p.answers(ctx, l.port+1, version)
	took = time.Since(start)
	cancel()
	_ = cmd.Wait() // it was killed
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, said.String())
	}
	return took, nil
}
