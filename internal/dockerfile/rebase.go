package dockerfile

import (
	"bytes"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/kdev-io/kdev/internal/problem"
)

// Rebase is the Dockerfile with other references in the place of images, under
// the names that FROM, COPY --from and RUN --mount have for them. What means a
// stage of that name stays, and lines stay where they are.
func (p *Plan) Rebase(refs map[string]string) ([]byte, error) {
	if len(refs) == 0 {
		return p.text, nil
	}
	ast, err := parser.Parse(bytes.NewReader(p.text))
	if err != nil {
		return nil, p.syntax(err)
	}
	instructions := map[int]*parser.Node{}
	for _, n := range ast.AST.Children {
		instructions[n.StartLine] = n
	}
	lines := strings.Split(string(p.text), "\n")
	for _, named := range p.named() {
		ref, n := refs[named.image], instructions[named.line]
		if ref == "" || n == nil {
			continue
		}
		if strings.EqualFold(n.Value, "FROM") && !named.from {
			continue // of a trigger that the FROM brings
		}
		put := func(word string) string { return redirected(word, named.image, ref) }
		if strings.EqualFold(n.Value, "FROM") {
			put = func(word string) string { return flagOr(word, ref) }
		}
		eachWord(lines[n.StartLine-1:min(n.EndLine, len(lines))], string(ast.EscapeToken), put)
	}
	rebased := &Plan{opts: p.opts, file: p.file, ignore: p.ignore}
	if err := rebased.read([]byte(strings.Join(lines, "\n"))); err != nil {
		return nil, err
	}
	// Names may be written in ways that are not understood here, such as over two
	// lines. Another image than the one that was meant is no build.
	was, now := p.named(), rebased.named()
	for i, n := range was {
		want := n.image
		if ref := refs[want]; ref != "" {
			want = ref
		}
		if i >= len(now) || now[i].image != want {
			return nil, &problem.Problem{
				Class: problem.Usage, Code: "dockerfile-syntax", Where: p.at(n.line),
				Summary: n.image + " is an image of the project, and is named in a way in which it cannot be given to the engine",
				Hint:    "write its name out, in one piece and in an instruction of its own",
			}
		}
	}
	return rebased.text, nil
}

// A naming is a place that names an image.
type naming struct {
	image string
	line  int
	from  bool // the stage begins with it
}

// named are the places of all stages, in their order.
func (p *Plan) named() []naming {
	var all []naming
	for _, s := range p.stages {
		s.bases(func(image string, line int) {
			all = append(all, naming{image, line, image == s.image && line == s.line})
		})
	}
	return all
}

// flagOr is a flag, or else ref.
func flagOr(word, ref string) string {
	if strings.HasPrefix(word, "--") {
		return word
	}
	return ref
}

// redirected is the flag that names an image, with ref in its place.
func redirected(flag, image, ref string) string {
	name, value, _ := strings.Cut(flag, "=")
	switch name {
	case "--from":
		if value == image {
			return name + "=" + ref
		}
	case "--mount":
		fields := strings.Split(value, ",")
		for i, f := range fields {
			if f == "from="+image {
				fields[i] = "from=" + ref
			}
		}
		return name + "=" + strings.Join(fields, ",")
	}
	return flag
}

// eachWord puts what do returns in the place of an instruction's flags and of
// the word after them.
func eachWord(lines []string, escape string, do func(word string) string) {
	named := false // the instruction's own name was seen
	for i, line := range lines {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue // a comment between the lines of one instruction
		}
		var out strings.Builder
		for line != "" {
			rest := strings.TrimLeft(line, " \t\r")
			out.WriteString(line[:len(line)-len(rest)])
			end := strings.IndexAny(rest, " \t\r")
			if end < 0 {
				end = len(rest)
			}
			word := rest[:end]
			line = rest[end:]
			last := strings.TrimSpace(line) == ""
			bare := word
			if last {
				bare = strings.TrimSuffix(word, escape) // the instruction goes on in the next line
			}
			switch {
			case bare == "":
				out.WriteString(word)
			case !named:
				named = true
				out.WriteString(word)
			default:
				out.WriteString(do(bare) + word[len(bare):])
				if !strings.HasPrefix(bare, "--") {
					lines[i] = out.String() + line
					return
				}
			}
		}
		lines[i] = out.String()
	}
}
