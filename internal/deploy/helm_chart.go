package deploy

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"

	"github.com/kdev-io/kdev/internal/problem"
)

// chartLayer is the media type of a packaged chart in an OCI registry.
const chartLayer = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

// chart loads a chart with its dependencies.
func (m *Manifests) chart(ctx context.Context, root string, c *Chart) (*chart.Chart, error) {
	if strings.HasPrefix(c.Chart, "oci://") {
		return pulledChart(ctx, c.Chart, c.Version, c.Where)
	}
	if isURL(c.Chart) {
		return fetchedChart(ctx, c.Chart, c.Version, c.Where)
	}
	dir := filepath.Join(root, filepath.FromSlash(c.Chart))
	ch, err := m.localChart(dir)
	if err != nil {
		return nil, loadProblem(err, c)
	}
	return ch, m.dependencies(ctx, root, dir, ch, c, 0)
}

func (m *Manifests) localChart(at string) (*chart.Chart, error) {
	if info, err := os.Stat(at); err == nil && info.IsDir() {
		m.dirs = append(m.dirs, at)
	} else {
		m.files[at] = true
	}
	return loader.Load(at)
}

func loadProblem(err error, c *Chart) error {
	var missing *os.PathError
	if errors.As(err, &missing) {
		err = missing.Err
	}
	return &problem.Problem{Class: problem.Usage, Code: "chart-invalid", Where: cmp.Or(c.Where, c.Chart), Summary: "chart " + c.Chart + " cannot be loaded", Err: err,
		Hint: "it is a folder with a Chart.yaml, or a package that `helm package` made"}
}

// dependencies adds what Chart.yaml names and the chart's charts folder does not
// hold: charts beside it (file://), those of OCI registries, and those of the older kind
// of repository, each in the version that Chart.lock has.
func (m *Manifests) dependencies(ctx context.Context, root, dir string, ch *chart.Chart, c *Chart, depth int) error {
	if depth > 8 {
		return &problem.Problem{Class: problem.Usage, Code: "chart-dependency", Where: c.Chart, Summary: "its dependencies depend on each other", Hint: "take one of them out of Chart.yaml"}
	}
	for _, dep := range ch.Metadata.Dependencies {
		if slices.ContainsFunc(ch.Dependencies(), func(have *chart.Chart) bool { return have.Name() == dep.Name }) {
			continue
		}
		var got *chart.Chart
		version, err := lockedVersion(ch, dep)
		hint := "`helm dependency build " + c.Chart + "` puts it there"
		beside, isFile := strings.CutPrefix(dep.Repository, "file://")
		switch {
		case isFile:
			at := filepath.Join(dir, filepath.FromSlash(beside))
			if got, err = m.localChart(at); err == nil {
				err = m.dependencies(ctx, root, at, got, c, depth+1)
			}
		case err != nil:
			hint = "`helm dependency update " + c.Chart + "` brings them together"
		case strings.HasPrefix(dep.Repository, "oci://"):
			got, err = pulledChart(ctx, strings.TrimSuffix(dep.Repository, "/")+"/"+dep.Name, version, path.Join(chartPlace(c), "Chart.yaml"))
		case isURL(dep.Repository) && isRange(version):
			err = errors.New("its version " + dep.Version + " may be another one tomorrow, and Chart.lock has none")
		case isURL(dep.Repository):
			got, err = fetchedChart(ctx, strings.TrimSuffix(dep.Repository, "/")+"/"+dep.Name, version, path.Join(chartPlace(c), "Chart.yaml"))
		default:
			err = errors.New("it is not in the folder charts")
		}
		if err != nil {
			if p := problem.As(err); p != nil {
				return p
			}
			return &problem.Problem{Class: problem.Usage, Code: "chart-dependency", Where: path.Join(chartPlace(c), "Chart.yaml"), Summary: "dependency " + dep.Name + " cannot be loaded", Err: err,
				Hint: hint}
		}
		ch.AddDependency(got)
	}
	return nil
}

// pulledChart loads a chart from an OCI registry, as the user who is logged in there
// by docker's configuration. A version is pulled once for this machine: it never
// changes.
func pulledChart(ctx context.Context, ref, version, where string) (*chart.Chart, error) {
	repo := strings.TrimPrefix(ref, "oci://")
	failed := func(summary string, err error, hint string) error {
		return &problem.Problem{Class: problem.Usage, Code: "chart-pull", Where: cmp.Or(where, ref), Summary: summary, Err: err, Hint: hint}
	}
	if isRange(version) {
		return nil, failed("chart "+ref+" has no version", nil, "name one version, so that the same manifests come out tomorrow: version: 1.2.3")
	}
	sum := sha256.Sum256([]byte(repo + "\x00" + version))
	file, err := cached("charts", hex.EncodeToString(sum[:12])+".tgz")
	if err != nil {
		return nil, err
	}
	if data, err := os.ReadFile(file); err == nil {
		if ch, err := loader.LoadArchive(bytes.NewReader(data)); err == nil {
			return ch, nil // else it is damaged: pulled again
		}
	}
	// Helm writes + as _, which tags cannot have.
	tag, err := name.NewTag(repo + ":" + strings.ReplaceAll(version, "+", "_"))
	if err != nil {
		return nil, failed("chart "+ref+" has no valid reference", err, "write it as oci://ghcr.io/acme/charts/web")
	}
	image, err := remote.Image(tag, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return nil, failed("chart "+ref+" cannot be pulled", err, "check name and version, and `docker login` to the registry; `helm pull` should say the same")
	}
	layers, err := image.Layers()
	if err != nil {
		return nil, failed("chart "+ref+" cannot be pulled", err, "`helm pull` should say the same")
	}
	for _, l := range layers {
		if kind, err := l.MediaType(); err != nil || string(kind) != chartLayer {
			continue
		}
		r, err := l.Compressed()
		if err != nil {
			return nil, failed("chart "+ref+" cannot be pulled", err, "`helm pull` should say the same")
		}
		data, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil {
			return nil, failed("chart "+ref+" cannot be pulled", err, "try again")
		}
		ch, err := loader.LoadArchive(bytes.NewReader(data))
		if err != nil {
			return nil, failed("what "+ref+" holds is no chart", err, "`helm pull` should say the same")
		}
		keep(file, data)
		return ch, nil
	}
	return nil, failed("what "+ref+" holds is no chart", nil, "it may be a container image: name the chart's repository")
}
