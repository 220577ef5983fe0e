package nodeimage

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/klauspost/compress/zstd"
)

// A podImage is a name for the shared image, and its entrypoint where it needs one.
type podImage struct{ name, entrypoint string }

// repack turns the docker archive of one image into an OCI archive of several that differ in name and entrypoint only.
// Layers are compressed with zstd: what containerd keeps beside the unpacked files is copied into every new node.
func repack(in, out string, images []podImage) error {
	source, err := openArchive(in)
	if err != nil {
		return fmt.Errorf("reading %s: %w", in, err)
	}
	defer source.Close()
	file, err := os.Create(out)
	if err != nil {
		return err
	}
	defer file.Close()
	target := &layout{tar: tar.NewWriter(file), has: map[string]bool{}}

	var layers []descriptor
	for _, name := range source.layers {
		layer, err := source.file(name)
		if err != nil {
			return fmt.Errorf("reading %s: %w", in, err)
		}
		var packed bytes.Buffer
		compressor, err := zstd.NewWriter(&packed, zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			return err
		}
		if _, err := io.Copy(compressor, layer); err != nil {
			return fmt.Errorf("compressing a layer: %w", err)
		}
		if err := compressor.Close(); err != nil {
			return fmt.Errorf("compressing a layer: %w", err)
		}
		d, err := target.blob("application/vnd.oci.image.layer.v1.tar+zstd", packed.Bytes())
		if err != nil {
			return err
		}
		layers = append(layers, d)
	}
	for _, image := range images {
		if err := target.image(image, source.config, layers); err != nil {
			return err
		}
	}
	if err := target.finish(); err != nil {
		return err
	}
	return file.Close()
}

// An archive is what `docker save` writes.
type archive struct {
	*os.File
	config []byte
	layers []string
	at     map[string]span   // regular files
	links  map[string]string // a layer that occurs twice is a link the second time
}

type span struct{ start, size int64 }

func openArchive(name string) (*archive, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	a := &archive{File: f, at: map[string]span{}, links: map[string]string{}}
	if err := a.index(); err != nil {
		f.Close()
		return nil, err
	}
	return a, nil
}

func (a *archive) index() error {
	for files := tar.NewReader(a.File); ; {
		header, err := files.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		start, err := a.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		switch header.Typeflag {
		case tar.TypeReg:
			a.at[path.Clean(header.Name)] = span{start, header.Size}
		case tar.TypeSymlink:
			a.links[path.Clean(header.Name)] = path.Join(path.Dir(header.Name), header.Linkname)
		}
	}
	var manifest []struct {
		Config string
		Layers []string
	}
	text, err := a.read("manifest.json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		return fmt.Errorf("manifest.json: %w", err)
	}
	if len(manifest) != 1 {
		return fmt.Errorf("manifest.json: %d images instead of one", len(manifest))
	}
	a.layers = manifest[0].Layers
	a.config, err = a.read(manifest[0].Config)
	return err
}

func (a *archive) file(name string) (io.Reader, error) {
	name = path.Clean(name)
	if target, ok := a.links[name]; ok {
		name = target
	}
	where, ok := a.at[name]
	if !ok {
		return nil, fmt.Errorf("%s is missing", name)
	}
	return io.NewSectionReader(a.File, where.start, where.size), nil
}

func (a *archive) read(name string) ([]byte, error) {
	f, err := a.file(name)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}

// A descriptor is OCI's, as far as it is needed here.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// A layout writes an OCI image layout into a tar file.
type layout struct {
	tar       *tar.Writer
	has       map[string]bool
	manifests []descriptor
}

func (l *layout) add(name string, content []byte) error {
	if err := l.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		return err
	}
	_, err := l.tar.Write(content)
	return err
}

func (l *layout) blob(mediaType string, content []byte) (descriptor, error) {
	sum := sha256.Sum256(content)
	digest := hex.EncodeToString(sum[:])
	d := descriptor{MediaType: mediaType, Digest: "sha256:" + digest, Size: len(content)}
	if l.has[digest] {
		return d, nil
	}
	l.has[digest] = true
	return d, l.add("blobs/sha256/"+digest, content)
}

// image adds an image with the given layers and, but for the entrypoint, the given configuration.
func (l *layout) image(image podImage, config []byte, layers []descriptor) error {
	if image.entrypoint != "" {
		var whole map[string]any
		if err := json.Unmarshal(config, &whole); err != nil {
			return fmt.Errorf("reading an image's configuration: %w", err)
		}
		process, _ := whole["config"].(map[string]any)
		if process == nil {
			process = map[string]any{}
			whole["config"] = process
		}
		process["Entrypoint"] = []string{image.entrypoint}
		delete(process, "Cmd")
		changed, err := json.Marshal(whole)
		if err != nil {
			return err
		}
		config = changed
	}
	about, err := l.blob("application/vnd.oci.image.config.v1+json", config)
	if err != nil {
		return err
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": about, "layers": layers,
	})
	if err != nil {
		return err
	}
	d, err := l.blob("application/vnd.oci.image.manifest.v1+json", manifest)
	if err != nil {
		return err
	}
	d.Annotations = map[string]string{"io.containerd.image.name": image.name}
	l.manifests = append(l.manifests, d)
	return nil
}

func (l *layout) finish() error {
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": l.manifests})
	if err != nil {
		return err
	}
	if err := l.add("index.json", index); err != nil {
		return err
	}
	if err := l.add("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	return l.tar.Close()
}
