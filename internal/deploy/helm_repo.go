package deploy

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	kyaml "sigs.k8s.io/yaml"

	"github.com/kdev-io/kdev/internal/problem"
)

// A chartIndex is what kdev reads of the index.yaml of a chart repository.
type chartIndex struct {
	Entries map[string][]struct {
		Version string   `json:"version"`
		URLs    []string `json:"urls"`
		Digest  string   `json:"digest"` // SHA-256 of the package
	} `json:"entries"`
}

// isRange says whether a version may mean another one tomorrow.
func isRange(version string) bool {
	return version == "" || strings.ContainsAny(version, "^~><*=,| ") || slices.Contains(strings.FieldsFunc(version, func(r rune) bool { return r == '.' }), "x")
}

// fetchedChart loads a chart of a repository of the older kind, by its index: address is
// the repository's with the chart's name behind it. A package with its hash needs none.
// A version is fetched once for this machine: it never changes.
func fetchedChart(ctx context.Context, address, version, where string) (*chart.Chart, error) {
	failed := func(summary string, err error, hint string) error {
		return &problem.Problem{Class: problem.Usage, Code: "chart-pull", Where: cmp.Or(where, address), Summary: summary, Err: err, Hint: hint}
	}
	if pin.MatchString(address) {
		data, err := pinned(ctx, address, where)
		if err != nil {
			return nil, err
		}
		ch, err := loader.LoadArchive(bytes.NewReader(data))
		if err != nil {
			return nil, failed("what "+address+" holds is no chart", err, "it is a package that `helm package` made")
		}
		return ch, nil
	}
	if isRange(version) {
		return nil, failed("chart "+address+" has no version", nil, "name one version, so that the same manifests come out tomorrow: version: 1.2.3")
	}
	repo, name := path.Split(strings.TrimSuffix(address, "/"))
	sum := sha256.Sum256([]byte(address + "\x00" + version))
	file, err := cached("charts", hex.EncodeToString(sum[:12])+".tgz")
	if err != nil {
		return nil, err
	}
	if data, err := os.ReadFile(file); err == nil {
		if ch, err := loader.LoadArchive(bytes.NewReader(data)); err == nil {
			return ch, nil // else it is damaged: fetched again
		}
	}
	data, err := fetchPackage(ctx, repo, name, version)
	if err != nil {
		return nil, failed("chart "+name+" "+version+" cannot be fetched from "+strings.TrimSuffix(repo, "/"), err, "check name and version: `helm search repo` or the repository's page lists them")
	}
	ch, err := loader.LoadArchive(bytes.NewReader(data))
	if err != nil {
		return nil, failed("what "+strings.TrimSuffix(repo, "/")+" has as "+name+" "+version+" is no chart", err, "`helm pull` should say the same")
	}
	keep(file, data)
	return ch, nil
}

// fetchPackage finds a version in the index of a repository and fetches its package, whose
// hash has to be the index's.
func fetchPackage(ctx context.Context, repo, name, version string) ([]byte, error) {
	base, err := url.Parse(repo)
	if err != nil {
		return nil, err
	}
	text, err := fetch(ctx, base.JoinPath("index.yaml").String())
	if err != nil {
		return nil, fmt.Errorf("its index.yaml: %w", err)
	}
	var index chartIndex
	if err := kyaml.Unmarshal(text, &index); err != nil {
		return nil, fmt.Errorf("its index.yaml is no index of charts: %s", oneLine(err.Error(), 160))
	}
	versions, ok := index.Entries[name]
	if !ok {
		return nil, errors.New("it has no chart of this name")
	}
	var all []string
	for _, v := range versions {
		all = append(all, v.Version)
		if strings.TrimPrefix(v.Version, "v") != strings.TrimPrefix(version, "v") || len(v.URLs) == 0 {
			continue
		}
		at, err := base.Parse(v.URLs[0]) // most often relative to the index
		if err != nil {
			return nil, err
		}
		data, err := fetch(ctx, at.String())
		if err != nil {
			return nil, fmt.Errorf("its package: %w", err)
		}
		switch want := strings.TrimPrefix(v.Digest, "sha256:"); want {
		case hashOf(data):
			return data, nil
		case "":
			return nil, fmt.Errorf("the index has no hash of it, so that it may be another one tomorrow; with its own it is %s#sha256=%s", at, hashOf(data))
		default:
			return nil, errors.New("the package has another hash than the index says: " + hashOf(data))
		}
	}
	return nil, fmt.Errorf("it has not this version, but %s", strings.Join(all[:min(len(all), 5)], ", "))
}

// lockedVersion is the version of a dependency: the one that Chart.lock names, where it
// was written down. Chart.yaml may have been changed since.
func lockedVersion(ch *chart.Chart, dep *chart.Dependency) (string, error) {
	var bad error // of a namesake: one chart may be a dependency twice, by another alias
	if ch.Lock != nil {
		for _, l := range ch.Lock.Dependencies {
			if l.Name != dep.Name || l.Repository != dep.Repository {
				continue
			}
			if dep.Version != "" && !chartutil.IsCompatibleRange(dep.Version, l.Version) {
				bad = errors.New("Chart.lock has its version " + l.Version + ", and Chart.yaml wants " + dep.Version)
				continue
			}
			return l.Version, nil
		}
	}
	if bad != nil {
		return "", bad
	}
	return dep.Version, nil
}
