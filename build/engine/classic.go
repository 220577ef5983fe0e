package engine

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/platforms"
	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/internal/tree/ignore"
)

// classic builds through POST /build, which engines without BuildKit have
// (Podman's service). The whole context travels each time.
func (b *Builder) classic(ctx context.Context, req Request, progress func(Event)) error {
	if progress == nil {
		progress = func(Event) {}
	}
	if len(req.Options.Secrets)+len(req.Options.SSH)+len(req.Options.CacheTo) > 0 {
		return &problem.Problem{
			Code: "engine-no-buildkit", Where: relative(req.Root, req.Dockerfile), Summary: "this engine has no BuildKit, which the build's secrets, ssh and cacheTo need",
			Hint: "use an engine with BuildKit: Docker 18.09 or newer",
		}
	}
	args := map[string]*string{}
	for k, v := range req.Args {
		args[k] = &v
	}
	opts := client.ImageBuildOptions{
		Tags: []string{req.Tag}, Dockerfile: dockerfileInTar, BuildArgs: args, Target: req.Target,
		Remove: true, ForceRemove: true, Version: build.BuilderV1, NetworkMode: req.Options.Network,
	}
	for _, name := range slices.Sorted(maps.Keys(req.Options.Hosts)) {
		opts.ExtraHosts = append(opts.ExtraHosts, name+":"+req.Options.Hosts[name])
	}
	for _, c := range caches(req.Options.CacheFrom) {
		if ref := c.Attrs["ref"]; ref != "" {
			opts.CacheFrom = append(opts.CacheFrom, ref)
		}
	}
	if req.Platform != "" {
		p, err := platforms.Parse(req.Platform)
		if err != nil {
			return fmt.Errorf("platform %q: %w", req.Platform, err)
		}
		opts.Platforms = []ocispec.Platform{p}
	}
	pr, pw := io.Pipe()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		pw.CloseWithError(sendContext(ctx, pw, req))
	}()
	// The sender ends before this function does: closing its pipe wakes it.
	defer func() {
		pr.CloseWithError(context.Canceled)
		<-sent
	}()
	resp, err := b.docker.ImageBuild(ctx, pr, opts)
	if err != nil {
		if ctx.Err() != nil || client.IsErrConnectionFailed(err) {
			return explain(ctx, err)
		}
		return classicFailure(req, "", nil, err.Error())
	}
	defer resp.Body.Close()
	err = readClassic(resp.Body, req, progress)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// dockerfileInTar cannot be the name of a file of the context.
const dockerfileInTar = ".kdev.Dockerfile"

// sendContext writes the context as a tar: what .dockerignore leaves, owned by
// root as BuildKit has it, and the Dockerfile, which may be outside of it.
func sendContext(ctx context.Context, w io.Writer, req Request) error {
	m, err := ignore.Docker(req.Context, req.Dockerfile)
	if err != nil {
		return err
	}
	x, err := tree.Open(req.Context)
	if err != nil {
		return err
	}
	defer x.Close()
	tw := tar.NewWriter(w)
	dockerfile, err := req.content()
	if err != nil {
		return err
	}
	if err := tw.WriteHeader(&tar.Header{Name: dockerfileInTar, Mode: 0o644, Size: int64(len(dockerfile))}); err != nil {
		return err
	}
	if _, err := tw.Write(dockerfile); err != nil {
		return err
	}
	skip := func(p string, isDir bool) (bool, bool) {
		ignored := m.Match(p, isDir).Ignored
		return ignored, isDir && m.MayReinclude(p)
	}
	err = tree.Walk(ctx, x, ".", skip, func(e tree.Entry) error { return sendEntry(tw, x, e) })
	if err != nil {
		return err
	}
	return tw.Close()
}

func sendEntry(tw *tar.Writer, x *tree.Index, e tree.Entry) error {
	h := &tar.Header{Name: e.Path, Mode: int64(e.Mode.Perm()), ModTime: time.Unix(0, e.MTime), Format: tar.FormatPAX}
	switch {
	case e.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, e.Path+"/"
	case e.Mode&fs.ModeSymlink != 0:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.Link
	case e.IsRegular():
		return sendFile(tw, x, e.Path, h)
	default:
		return nil // sockets and pipes are in no image
	}
	return tw.WriteHeader(h)
}

func sendFile(tw *tar.Writer, x *tree.Index, p string, h *tar.Header) error {
	f, err := x.Open(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	// The size of what is open, not of what the walk saw.
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	h.Typeflag, h.Size = tar.TypeReg, fi.Size()
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.CopyN(tw, f, h.Size)
	return err
}

var classicStep = regexp.MustCompile(`^(?:Step|STEP) (\d+)/(\d+) ?: (.*)$`)

// readClassic turns the engine's JSON stream into events; its error is the
// problem of the instruction that was running.
func readClassic(r io.Reader, req Request, progress func(Event)) error {
	var (
		dec   = json.NewDecoder(r)
		step  string
		began = time.Now()
		tail  []string
		rest  string
	)
	finish := func(cached bool) {
		if step != "" {
			progress(Event{Step: step, Done: true, Cached: cached, Took: time.Since(began).Round(time.Millisecond)})
		}
	}
	cached := false
	for {
		var m struct {
			Stream      string `json:"stream"`
			Error       string `json:"error"`
			ErrorDetail *struct {
				Message string `json:"message"`
			} `json:"errorDetail"`
		}
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			finish(cached)
			return nil
		} else if err != nil {
			return fmt.Errorf("read the engine's answer: %w", err)
		}
		if m.Error != "" {
			return classicFailure(req, step, tail, m.Error)
		}
		rest += m.Stream
		for {
			line, after, found := strings.Cut(rest, "\n")
			if !found {
				break
			}
			rest = after
			if s := classicStep.FindStringSubmatch(line); s != nil {
				finish(cached)
				step, began, tail, cached = fmt.Sprintf("[%s/%s] %s", s[1], s[2], s[3]), time.Now(), nil, false
				progress(Event{Step: step})
				continue
			}
			switch {
			case strings.Contains(line, "Using cache"):
				cached = true
			case line == "", strings.HasPrefix(line, " ---> "), strings.HasPrefix(line, "Removing intermediate container "),
				strings.HasPrefix(line, "Successfully "), strings.HasPrefix(line, "--> "):
			default:
				tail = append(tail, line)
				if len(tail) > tailLines {
					tail = tail[1:]
				}
				progress(Event{Step: step, Line: line})
			}
		}
	}
}

func classicFailure(req Request, step string, tail []string, message string) error {
	p := &problem.Problem{
		Code: "build-failed", Summary: "the image could not be built", Where: relative(req.Root, req.Dockerfile),
		Output: strings.Join(tail, "\n"), Err: errors.New(strings.TrimSpace(message)),
	}
	if step != "" {
		p.Summary = instruction(step) + " failed"
	}
	line := find(req, step)
	if m := syntaxLine.FindStringSubmatch(message); line == 0 && m != nil {
		line, _ = strconv.Atoi(m[1])
	}
	if line > 0 {
		p.Where = fmt.Sprintf("%s:%d", p.Where, line)
	}
	p.Hint = hint(p, false)
	return p
}
