package engine

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	buildkiterrors "github.com/moby/buildkit/solver/errdefs"

	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/kdev-io/kdev/internal/problem"
)

// failure is the problem of a build that the engine ended.
func (t *tracker) failure(req Request, err error) error {
	p := &problem.Problem{Code: "build-failed", Summary: "the image could not be built", Where: relative(req.Root, req.Dockerfile)}
	if t.failed != nil {
		p.Summary = instruction(t.failed.name) + " failed"
		p.Output = strings.Join(t.failed.tail, "\n")
	}
	p.Err = cause(err)
	if line := place(req, err, t.failed); line > 0 {
		p.Where = fmt.Sprintf("%s:%d", p.Where, line)
	}
	p.Hint = hint(p, req.remote)
	return p
}

// place is the line of the Dockerfile that failed. BuildKit says so where it
// can; an old one does not, and then the step's name holds the instruction's text.
func place(req Request, err error, failed *step) int {
	for _, src := range buildkiterrors.Sources(err) {
		for _, r := range src.Ranges {
			if r.Start != nil && r.Start.Line > 0 {
				return int(r.Start.Line)
			}
		}
	}
	var located *parser.LocationError
	if errors.As(err, &located) {
		for _, ranges := range located.Locations {
			for _, r := range ranges {
				if r.Start.Line > 0 {
					return r.Start.Line
				}
			}
		}
	}
	if m := syntaxLine.FindStringSubmatch(err.Error()); m != nil {
		var n int
		fmt.Sscan(m[1], &n)
		return n
	}
	name := ""
	if failed != nil {
		name = strings.TrimPrefix(failed.name, "[internal] ")
		if line := find(req, name); line > 0 {
			return line
		}
	}
	return frontendLine(req, name+" "+err.Error())
}

// frontendLine is the line that names the Dockerfile's frontend, where the failure names
// that too.
func frontendLine(req Request, failure string) int {
	content, err := req.content()
	if err != nil {
		return 0
	}
	ref, _, at, ok := parser.DetectSyntax(content)
	if !ok || len(at) == 0 || !strings.Contains(failure, ref) {
		return 0
	}
	return at[0].Start.Line
}

var syntaxLine = regexp.MustCompile(`[Dd]ockerfile(?: parse error(?: on)?)? line (\d+)`)

// find is the line of the instruction that a step's name shows; 0 where none
// fits. Where several have the same text, the name's prefix decides:
// "[stage-1 3/5] " is the third step of the second stage.
func find(req Request, name string) int {
	content, err := req.content()
	if err != nil {
		return 0
	}
	result, err := parser.Parse(bytes.NewReader(content))
	if err != nil {
		return 0
	}
	text := squeeze(stepPrefix.ReplaceAllString(name, ""))
	image := ""
	for _, p := range []string{"load metadata for ", "resolve image config for "} {
		if rest, ok := strings.CutPrefix(text, p); ok {
			image = rest
		}
	}
	wantStage, wantIndex := "", ""
	if m := stepNumber.FindStringSubmatch(name); m != nil {
		wantStage, wantIndex = m[1], m[2]
	}
	var lines []int
	exact := 0
	stage, number, index := "", -1, 0
	stages := map[string]bool{"scratch": true}
	for _, n := range result.AST.Children {
		switch strings.ToUpper(n.Value) {
		case "FROM":
			number++
			stage, index = stageName(n, number), 0
			if n.Next != nil && !stages[strings.ToLower(n.Next.Value)] {
				index = 1 // an image is a step, a stage is none
				if image != "" && names(image, n.Next.Value) {
					return n.StartLine
				}
			}
			stages[stage] = true
		case "RUN", "COPY", "ADD", "WORKDIR":
			index++
		}
		if squeeze(n.Original) != text {
			continue
		}
		lines = append(lines, n.StartLine)
		if strconv.Itoa(index) == wantIndex && (wantStage == "" || wantStage == stage) {
			exact = n.StartLine
		}
	}
	if len(lines) == 1 {
		return lines[0]
	}
	return exact
}

// stageName is what BuildKit calls the stage in step names.
func stageName(from *parser.Node, number int) string {
	if as := from.Next; as != nil && as.Next != nil && as.Next.Next != nil {
		return strings.ToLower(as.Next.Next.Value)
	}
	return fmt.Sprintf("stage-%d", number)
}

// names says whether the reference in the Dockerfile is the full one of the step.
func names(full, written string) bool {
	return full == written || strings.HasSuffix(full, "/"+written) || strings.HasSuffix(full, "/"+written+":latest") || full == written+":latest"
}

func squeeze(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

var (
	stepPrefix = regexp.MustCompile(`^\[[^\]]*\] `)
	stepNumber = regexp.MustCompile(`^\[(?:linux/\S+ )?(?:(\S+) +)?(\d+)/\d+\] `)
)

// instruction is the step's name without "[stage 3/5] ".
func instruction(name string) string {
	name = strings.Join(strings.Fields(name), " ")
	s := stepPrefix.ReplaceAllString(name, "")
	if len(s) > 120 {
		s = s[:117] + "..."
	}
	return s
}

// cause is the error's innermost text: BuildKit wraps it in how it got there.
func cause(err error) error {
	text := err.Error()
	for _, prefix := range []string{"failed to solve: ", "rpc error: code = Unknown desc = ", "failed to run Build function: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return errors.New(text)
}

func hint(p *problem.Problem, remote bool) string {
	text := p.Err.Error()
	switch {
	case strings.Contains(text, "entitlement") && strings.Contains(text, "not allowed"):
		return "the BuildKit daemon allows it with the flag --allow-insecure-entitlement network.host"
	case remote && (strings.Contains(text, "failed to resolve source metadata") || strings.Contains(text, "failed to do request") || strings.Contains(text, "pull access denied")):
		return "is the image's name right? BuildKit pulls it itself, with your docker login; what only an engine of this machine holds it does not have"
	case strings.Contains(text, "not found") && strings.Contains(text, "FROM"),
		strings.Contains(text, "failed to do request"), strings.Contains(text, "pull access denied"), strings.Contains(text, "failed to resolve source metadata"):
		return "is the image's name right, and can the engine pull it? `docker pull` says"
	case strings.Contains(text, "secret ") && strings.Contains(text, ": not found"):
		return "name the secret in kdev.yaml: services.NAME.build.secrets: {ID: {file: …}}"
	case strings.Contains(text, "unset ssh forward key"), strings.Contains(text, "no SSH key"):
		return "let the build use your ssh agent: services.NAME.build.ssh: [default]"
	case strings.Contains(text, "unknown cache exporter"), strings.Contains(text, "cache export is not supported"), strings.Contains(text, "cache export feature"):
		return "this engine's BuildKit does not write such a cache; take cacheTo out, or use a newer engine"
	case p.Output != "" && remote:
		return "the output above is the instruction's own"
	case p.Output != "":
		return "the output above is the instruction's own; the same happens with `docker build`"
	default:
		return "correct the instruction there; `kdev build` tries again, and `kdev up` does when the file is saved"
	}
}

func relative(root, path string) string {
	if rel, err := filepath.Rel(root, path); root != "" && err == nil && !strings.HasPrefix(rel, "..") {
		return filepath.ToSlash(rel)
	}
	return path
}
