package build

import (
	"os"
	"path/filepath"
	"testing"
)

// What a Compiler makes is what a build puts into the image: a container that has
// the image can be given it.
func TestCompile(t *testing.T) {
	spec, idx := goProject(t)
	b, store := noEngine(t, idx)
	image := built(t, b, spec).Record.Outputs[0]
	c := NewCompiler(store)
	same, err := c.Compile(t.Context(), spec, nil)
	if err != nil || len(same) != 1 || same[0] != image {
		t.Fatalf("%+v, %v, want %+v", same, err, image)
	}
	write(t, spec.Root, "lib/lib.go", "package lib\n\nconst Name = \"two\"\n")
	next, err := c.Compile(t.Context(), spec, nil)
	if err != nil || next[0].Digest == image.Digest || next[0].Path != image.Path {
		t.Fatalf("%+v, %v", next, err)
	}
	if sum, err := digestOfFile(next[0].Local); err != nil || sum != next[0].Digest {
		t.Errorf("the file is %s, %v", sum, err)
	}
	if changed, err := c.Learn(t.Context(), spec); changed || err != nil {
		t.Errorf("the same files: %v, %v", changed, err)
	}
	write(t, spec.Root, "lib/lib.go", "package lib\n\nimport _ \"example.test/shop/other\"\n\nconst Name = \"three\"\n")
	if changed, err := c.Learn(t.Context(), spec); !changed || err != nil {
		t.Errorf("a new import: %v, %v", changed, err)
	}
}

func TestCompileCommand(t *testing.T) {
	root, _ := project(t, "in.txt", "one")
	_, store := noEngine(t, nil)
	spec := Spec{Project: "shop", Service: "page", Root: root, Context: root, Platform: "linux/amd64", Command: &Command{
		Run: []string{"sh", "-c", "mkdir -p dist/sub && cp in.txt dist/sub/"}, Output: "dist", To: "/srv", Base: Scratch,
	}}
	if !spec.Compiles() {
		t.Error("a command with an output compiles")
	}
	list, err := NewCompiler(store).Compile(t.Context(), spec, nil)
	if err != nil || len(list) != 1 || list[0].Path != "/srv/sub/in.txt" {
		t.Fatalf("%+v, %v", list, err)
	}
	if content, err := os.ReadFile(list[0].Local); string(content) != "one" || list[0].Local != filepath.Join(root, "dist", "sub", "in.txt") {
		t.Errorf("%s holds %q, %v", list[0].Local, content, err)
	}
	spec.Command.To = ""
	if spec.Compiles() {
		t.Error("an image of a command is no output for a container")
	}
}
