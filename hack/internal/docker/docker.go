// Package docker is what the offline programs ask of a Docker engine: images in and out, builds, a few questions.
//
// It calls the docker command line, which knows the user's context, DOCKER_HOST and certificates, and uses nothing of it
// that Docker 20.10 lacks: no buildx, the classic builder on purpose, because it takes a local image for FROM.
package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/kdev-io/kdev/hack/internal/step"
)

// Label marks the images that these programs make; its value is the hash of the recipe.
// An image built FROM one of ours inherits the label, so ours is who has both the label and one of our names.
const Label = "dev.kdev.offline"

// An Image is what is known of a local image.
type Image struct {
	ID          string   `json:"Id"`
	RepoTags    []string `json:"RepoTags"`
	RepoDigests []string `json:"RepoDigests"`
	Config      struct {
		Labels map[string]string `json:"Labels"`
	} `json:"Config"`
}

// Recipe is the hash of the recipe that the image was made from, empty for an image that is not ours.
func (i Image) Recipe() string { return i.Config.Labels[Label] }

// Images returns those of the references that the engine has.
func Images(ctx context.Context, refs ...string) (map[string]Image, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	var out, complaints bytes.Buffer
	cmd := exec.CommandContext(ctx, "docker", append([]string{"image", "inspect"}, refs...)...)
	cmd.Stdout, cmd.Stderr = &out, &complaints
	failed := cmd.Run() // it fails too when only some of them are there
	if failed != nil && !strings.Contains(strings.ToLower(complaints.String()), "no such image") {
		return nil, fmt.Errorf("asking the engine for images: %w: %s", failed, bytes.TrimSpace(complaints.Bytes()))
	}
	return present(out.Bytes(), refs)
}

// present picks the references from the output of docker image inspect.
func present(text []byte, refs []string) (map[string]Image, error) {
	var all []Image
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("asking the engine for images: %w", err)
	}
	found := map[string]Image{}
	for _, image := range all {
		for _, ref := range refs {
			if slices.Contains(image.RepoTags, ref) || slices.Contains(image.RepoDigests, withoutTag(ref)) {
				found[ref] = image
			}
		}
	}
	return found, nil
}

// withoutTag turns name:tag@digest into name@digest, the form in which the engine knows a digest.
func withoutTag(ref string) string {
	name, digest, ok := strings.Cut(ref, "@")
	if colon := strings.LastIndex(name, ":"); ok && colon > strings.LastIndex(name, "/") {
		name = name[:colon]
	}
	return name + "@" + digest
}

// Info is what the engine says of itself.
type Info struct {
	ServerVersion  string
	DefaultRuntime string
	CgroupVersion  string
	Runtimes       map[string]any
}

// Ask returns the engine's Info, or an error when none answers.
func Ask(ctx context.Context) (Info, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var info Info
	out, err := exec.CommandContext(ctx, "docker", "info", "--format", "{{json .}}").Output()
	if err != nil {
		return info, fmt.Errorf("asking the engine: %w", err)
	}
	if err := json.Unmarshal(out, &info); err != nil {
		return info, fmt.Errorf("asking the engine: %w", err)
	}
	// Some command lines print an empty Info and succeed when the engine is away.
	if info.ServerVersion == "" {
		return info, fmt.Errorf("asking the engine: no answer")
	}
	return info, nil
}

// Host is the address of the engine that the docker command line would talk to; empty when there is no command line.
func Host(ctx context.Context) string {
	out, _ := exec.CommandContext(ctx, "docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}").Output()
	return strings.TrimSpace(string(out))
}

// A Build is one image to build.
type Build struct {
	Tags    []string
	Recipe  string
	Args    map[string]string
	Context []Entry // "Dockerfile" among them
}

// Run builds the image.
func (b Build) Run(ctx context.Context) error {
	args := []string{"docker", "build", "--quiet", "--force-rm", "--label", Label + "=" + b.Recipe}
	for _, tag := range b.Tags {
		args = append(args, "--tag", tag)
	}
	for _, name := range slices.Sorted(mapKeys(b.Args)) {
		args = append(args, "--build-arg", name+"="+b.Args[name])
	}
	stream, feed := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		feed.CloseWithError(WriteTar(feed, b.Context))
	}()
	err := step.Run(ctx, step.Command{
		Args: append(args, "-"), Env: []string{"DOCKER_BUILDKIT=0"}, Stdin: stream,
		Hint: "the lines above are the build's; a RUN that cannot reach Debian's mirror needs the machine's network",
	})
	stream.Close()
	<-done
	return err
}

func mapKeys(m map[string]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// An Entry is a file of a build context: its content, or the file that it is copied from, or the target of a link.
type Entry struct {
	Name    string
	Mode    os.FileMode
	Content []byte
	From    string
	Link    string
}

// WriteTar writes the entries, all of them owned by root and without times.
func WriteTar(w io.Writer, entries []Entry) error {
	out := tar.NewWriter(w)
	for _, e := range entries {
		if err := e.write(out); err != nil {
			return fmt.Errorf("packing %s: %w", e.Name, err)
		}
	}
	return out.Close()
}

func (e Entry) write(out *tar.Writer) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: path.Clean(e.Name), Mode: int64(e.Mode.Perm()), Size: int64(len(e.Content))}
	if header.Mode == 0 {
		header.Mode = 0o644
	}
	if e.Link != "" {
		header.Typeflag, header.Linkname = tar.TypeSymlink, e.Link
		return out.WriteHeader(header)
	}
	if e.From == "" {
		if err := out.WriteHeader(header); err != nil {
			return err
		}
		_, err := out.Write(e.Content)
		return err
	}
	f, err := os.Open(e.From)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	header.Size = info.Size()
	if e.Mode == 0 {
		header.Mode = int64(info.Mode().Perm())
	}
	if err := out.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(out, f)
	return err
}

// Import makes an image of one layer from a tar file.
func Import(ctx context.Context, file, ref, recipe string, changes ...string) error {
	args := []string{"docker", "import", "--change", "LABEL " + Label + "=" + recipe}
	for _, change := range changes {
		args = append(args, "--change", change)
	}
	return step.Run(ctx, step.Command{Args: append(args, file, ref)})
}

// Save writes the images to a file, in docker's archive format.
func Save(ctx context.Context, file string, refs ...string) error {
	return step.Run(ctx, step.Command{Args: append([]string{"docker", "save", "--output", file}, refs...)})
}

// Tag gives an image another name.
func Tag(ctx context.Context, ref, name string) error {
	return step.Run(ctx, step.Command{Args: []string{"docker", "tag", ref, name}})
}

// Remove takes names away, and the images that lose their last name.
func Remove(ctx context.Context, refs ...string) error {
	if len(refs) == 0 {
		return nil
	}
	return step.Run(ctx, step.Command{Args: append([]string{"docker", "image", "rm"}, refs...)})
}

// runLabel marks the containers of Output. Label would not tell them from a user's, which inherit it from the image.
const runLabel = Label + ".run"

// RemoveContainers removes the containers that an interrupted Output left.
func RemoveContainers(ctx context.Context) (removed []string, err error) {
	out, err := step.Output(ctx, step.Command{Args: []string{"docker", "ps", "--all", "--quiet", "--filter", "label=" + runLabel}})
	if removed = strings.Fields(out); err != nil || len(removed) == 0 {
		return nil, err
	}
	return removed, step.Run(ctx, step.Command{Args: append([]string{"docker", "rm", "--force", "--volumes"}, removed...)})
}

// Discard removes images that lost their names to newer ones. One that is in use, or has another name, stays.
func Discard(ctx context.Context, old map[string]Image) {
	for _, image := range old {
		if image.Recipe() != "" {
			_ = step.Run(ctx, step.Command{Args: []string{"docker", "image", "rm", image.ID}})
		}
	}
}

// stageLabel is set by the stages of our Dockerfiles that nothing remains of.
const stageLabel = Label + ".stage"

// DiscardStages removes what builds with several stages left.
func DiscardStages(ctx context.Context) {
	_ = step.Run(ctx, step.Command{Args: []string{"docker", "image", "prune", "--force", "--filter", "label=" + stageLabel}})
}

// Output runs a command in a container of the image and returns what it printed.
func Output(ctx context.Context, image string, command ...string) (string, error) {
	args := []string{"docker", "run", "--rm", "--network", "none", "--label", runLabel, "--entrypoint", command[0], image}
	return step.Output(ctx, step.Command{Args: append(args, command[1:]...)})
}

// List returns all local names of images with our label.
func List(ctx context.Context) ([]string, error) {
	out, err := step.Output(ctx, step.Command{
		Args: []string{"docker", "image", "ls", "--filter", "label=" + Label, "--format", "{{.Repository}}:{{.Tag}}"},
	})
	return strings.Fields(out), err
}
