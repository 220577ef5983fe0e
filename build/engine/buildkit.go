package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/cli/cli/config"
	buildkit "github.com/moby/buildkit/client"
	"github.com/moby/buildkit/frontend/dockerfile/builder"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth/authprovider"
	"github.com/moby/buildkit/util/staticfs"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var errNoBuildKit = errors.New("the engine has no BuildKit")

// dial opens BuildKit's API, which the engine serves on a hijacked connection
// of its own. Whether it is there shows only when it is used.
func (b *Builder) dial(ctx context.Context) (*buildkit.Client, error) {
	// First an ordinary request: a missing engine is another error than a
	// missing BuildKit, and the upgrade request does not tell them apart.
	if _, err := b.docker.Ping(ctx, pingOptions); err != nil {
		return nil, err
	}
	conn, err := b.docker.DialHijack(ctx, "/grpc", "h2c", nil)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, errNoBuildKit
	}
	conn.Close()
	kit, err := buildkit.New(ctx, "",
		buildkit.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return b.docker.DialHijack(ctx, "/grpc", "h2c", nil)
		}),
		buildkit.WithSessionDialer(func(ctx context.Context, proto string, meta map[string][]string) (net.Conn, error) {
			return b.docker.DialHijack(ctx, "/session", proto, meta)
		}))
	if err != nil {
		return nil, err
	}
	if _, err := kit.ListWorkers(ctx); err != nil {
		kit.Close()
		if status.Code(err) == codes.Unimplemented {
			return nil, errNoBuildKit
		}
		return nil, err
	}
	return kit, nil
}

// solve lets the Dockerfile frontend that is linked into kdev turn the file
// into steps, and the engine run them. So a file means the same on every
// engine, and `# syntax=docker/dockerfile:…` needs no pull.
func (b *Builder) solve(ctx context.Context, kit *buildkit.Client, req Request, progress func(Event)) error {
	opt, err := solveOpt(req)
	if err != nil {
		return err
	}
	_, err = follow(ctx, kit, req, progress, func(statuses chan *buildkit.SolveStatus) (*buildkit.SolveResponse, error) {
		return kit.Build(ctx, opt, "", builder.Build, statuses)
	})
	return err
}

// follow tells of a solve's steps as they happen, and makes a problem of its failure.
// solve closes its channel.
func follow(ctx context.Context, kit *buildkit.Client, req Request, progress func(Event), solve func(chan *buildkit.SolveStatus) (*buildkit.SolveResponse, error)) (*buildkit.SolveResponse, error) {
	statuses := make(chan *buildkit.SolveStatus)
	t := newTracker(progress)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range statuses {
			t.status(s)
		}
	}()
	// The client goes on until the engine has ended the step; an engine whose client is
	// gone ends it as well.
	stop := context.AfterFunc(ctx, func() { kit.Close() })
	defer stop()
	r, err := solve(statuses)
	<-done
	t.end()
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, t.failure(req, err)
	}
	return r, nil
}

func solveOpt(req Request) (buildkit.SolveOpt, error) {
	context, err := fsutil.NewFS(req.Context)
	if err != nil {
		return buildkit.SolveOpt{}, fmt.Errorf("open the build context: %w", err)
	}
	dockerfile, err := dockerfileFS(req)
	if err != nil {
		return buildkit.SolveOpt{}, fmt.Errorf("open the Dockerfile's folder: %w", err)
	}
	attrs := map[string]string{
		"filename": filepath.Base(req.Dockerfile),
		// An image that is only on the engine must do for FROM.
		"image-resolve-mode": "local",
	}
	if syntax := ownSyntax(req); syntax != "" {
		// With this set the frontend takes itself for the one that the file asks for.
		attrs["cmdline"] = syntax
	}
	if req.Target != "" {
		attrs["target"] = req.Target
	}
	if req.Platform != "" {
		attrs["platform"] = req.Platform
	}
	for k, v := range req.Args {
		attrs["build-arg:"+k] = v
	}
	req.Options.attrs(attrs)
	// The key under which the engine keeps its copy of the context: with the
	// same one, the next build sends only what changed.
	h := sha256.Sum256([]byte(req.Context))
	opt := buildkit.SolveOpt{
		FrontendAttrs: attrs,
		LocalMounts:   map[string]fsutil.FS{"context": context, "dockerfile": dockerfile},
		SharedKey:     "kdev:" + hex.EncodeToString(h[:16]),
		Exports:       []buildkit.ExportEntry{{Type: "moby", Attrs: map[string]string{"name": req.Tag}}},
	}
	return opt, req.Options.attach(&opt)
}

// dockerfileFS holds the Dockerfile and the ignore file beside it: where another
// text is built than that of the file, only these.
func dockerfileFS(req Request) (fsutil.FS, error) {
	if req.text == nil {
		return fsutil.NewFS(filepath.Dir(req.Dockerfile))
	}
	own := staticfs.NewFS()
	add := func(name string, text []byte) {
		// The engine keeps its copy while size and time are the same.
		own.Add(name, &types.Stat{Mode: 0o644, ModTime: time.Now().UnixNano()}, text)
	}
	name := filepath.Base(req.Dockerfile)
	add(name, req.text)
	rules, err := os.ReadFile(req.Dockerfile + ".dockerignore")
	if errors.Is(err, fs.ErrNotExist) {
		return own, nil
	}
	add(name+".dockerignore", rules)
	return own, err
}

// ownSyntax is the frontend that the Dockerfile asks for, if it is Docker's own.
func ownSyntax(req Request) string {
	ref := req.Args["BUILDKIT_SYNTAX"]
	if ref == "" {
		content, err := os.ReadFile(req.Dockerfile)
		if err != nil {
			return "" // the build says it better
		}
		ref, _, _, _ = parser.DetectSyntax(content)
	}
	bare := strings.TrimPrefix(ref, "docker.io/")
	for _, own := range []string{"docker/dockerfile", "docker/dockerfile-upstream"} {
		if bare == own || strings.HasPrefix(bare, own+":") {
			return ref
		}
	}
	return ""
}

func credentialsOnly() []session.Attachable { return []session.Attachable{credentials()} }

// credentials are the user's own, asked for by registry when BuildKit pulls.
func credentials() session.Attachable {
	file := config.LoadDefaultConfigFile(io.Discard)
	return authprovider.NewDockerAuthProvider(authprovider.DockerAuthProviderConfig{
		AuthConfigProvider: authprovider.LoadAuthConfig(file),
	})
}

// A tracker turns BuildKit's stream of states into events, and keeps what a
// failure needs.
type tracker struct {
	progress func(Event)
	steps    map[string]*step
	failed   *step
}

type step struct {
	name    string
	partial []byte
	tail    []string
	done    bool
}

// tailLines is how much output a failure shows.
const tailLines = 40

func newTracker(progress func(Event)) *tracker {
	if progress == nil {
		progress = func(Event) {}
	}
	return &tracker{progress: progress, steps: map[string]*step{}}
}

func (t *tracker) step(id string) *step {
	s := t.steps[id]
	if s == nil {
		s = &step{}
		t.steps[id] = s
	}
	return s
}

func (t *tracker) status(st *buildkit.SolveStatus) {
	for _, v := range st.Vertexes {
		s := t.step(v.Digest.String())
		fresh := s.name == "" && v.Name != "" && !strings.HasPrefix(v.Name, "[internal]")
		if v.Name != "" {
			s.name = v.Name
		}
		if fresh && v.Started != nil && v.Completed == nil {
			t.progress(Event{Step: s.name})
		}
		if v.Error != "" && !strings.Contains(v.Error, "context canceled") {
			s.flush(t)
			t.failed = s
		}
		if v.Completed != nil && v.Error == "" && !s.done {
			s.done = true
			s.flush(t)
			if !strings.HasPrefix(s.name, "[internal]") {
				e := Event{Step: s.name, Done: true, Cached: v.Cached}
				if v.Started != nil {
					e.Took = v.Completed.Sub(*v.Started).Round(time.Millisecond)
				}
				t.progress(e)
			}
		}
	}
	for _, l := range st.Logs {
		s := t.step(l.Vertex.String())
		s.partial = append(s.partial, l.Data...)
		for {
			line, rest, found := strings.Cut(string(s.partial), "\n")
			if !found {
				break
			}
			s.partial = []byte(rest)
			s.line(t, line)
		}
	}
}

func (s *step) line(t *tracker, line string) {
	line = strings.TrimSuffix(line, "\r")
	s.tail = append(s.tail, line)
	if len(s.tail) > tailLines {
		s.tail = s.tail[1:]
	}
	t.progress(Event{Step: s.name, Line: line})
}

func (s *step) flush(t *tracker) {
	if len(s.partial) > 0 {
		s.line(t, string(s.partial))
		s.partial = nil
	}
}

func (t *tracker) end() {
	for _, s := range t.steps {
		s.flush(t)
	}
}
