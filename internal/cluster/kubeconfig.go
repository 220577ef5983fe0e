package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kdev-io/kdev/internal/problem"
)

// The lists of a kubeconfig whose entries have names.
var kubeconfigLists = []string{"clusters", "contexts", "users"}

// mergeKubeconfig writes the cluster, context and user of that name, taken from
// entry, into the kubeconfig: the file that has them, else the one that kubectl
// would write to. The current context and all other entries stay as they are,
// with their comments and fields that nobody knows.
//
// Problems: kubeconfig-locked, kubeconfig-invalid.
func mergeKubeconfig(ctx context.Context, explicit, name string, entry []byte) error {
	var source yaml.Node
	if err := yaml.Unmarshal(entry, &source); err != nil {
		return fmt.Errorf("read the cluster's kubeconfig: %w", err)
	}
	files := kubeconfigFiles(explicit)
	target := defaultKubeconfig(files)
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil && holdsEntry(data, name) {
			target = file
			break
		}
	}
	for _, file := range files {
		var put *yaml.Node
		if file == target {
			put = &source
		}
		if err := editKubeconfig(ctx, file, func(doc *yaml.Node) error { return replaceEntry(doc, name, put) }); err != nil {
			return err
		}
	}
	return nil
}

// removeKubeconfig removes the entries of that name from all files.
func removeKubeconfig(ctx context.Context, explicit, name string) error {
	var failed []error
	for _, file := range kubeconfigFiles(explicit) {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		failed = append(failed, editKubeconfig(ctx, file, func(doc *yaml.Node) error { return replaceEntry(doc, name, nil) }))
	}
	return errors.Join(failed...)
}

// kubeconfigFiles are the files that kubectl reads, in its order.
func kubeconfigFiles(explicit string) []string {
	if explicit != "" {
		return []string{explicit}
	}
	var files []string
	for _, f := range clientcmd.NewDefaultClientConfigLoadingRules().GetLoadingPrecedence() {
		if f != "" && !slices.Contains(files, f) {
			files = append(files, f)
		}
	}
	return files
}

// defaultKubeconfig is where kubectl puts new entries: the first file that
// exists, else the first.
func defaultKubeconfig(files []string) string {
	for _, f := range files {
		if _, err := os.Stat(f); err == nil {
			return f
		}
	}
	return files[0]
}

func holdsEntry(data []byte, name string) bool {
	var config struct {
		Clusters []struct{ Name string }
	}
	if yaml.Unmarshal(data, &config) != nil {
		return false
	}
	return slices.ContainsFunc(config.Clusters, func(c struct{ Name string }) bool { return c.Name == name })
}

// editKubeconfig changes one file under the lock that kubectl and kind take, and
// replaces it in one step. A file that the edit leaves as it is is not written.
func editKubeconfig(ctx context.Context, file string, edit func(doc *yaml.Node) error) error {
	// A link stays a link: what it points to is replaced.
	if resolved, err := filepath.EvalSymlinks(file); err == nil {
		file = resolved
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("make the kubeconfig's folder: %w", err)
	}
	unlock, err := lockKubeconfig(ctx, file)
	if err != nil {
		return err
	}
	defer unlock()

	before, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the kubeconfig: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(before, &doc); err != nil {
		return &problem.Problem{Class: problem.Usage, Code: "kubeconfig-invalid", Where: file, Summary: "cannot use the kubeconfig", Err: err,
			Hint: "kubectl config view shows what kubectl makes of it"}
	}
	if doc.Kind == 0 { // no file, or an empty one
		if err := yaml.Unmarshal([]byte("apiVersion: v1\nkind: Config\n"), &doc); err != nil {
			return err
		}
	}
	was, err := encodeYAML(&doc)
	if err != nil {
		return err
	}
	if err := edit(&doc); err != nil {
		return fmt.Errorf("change %s: %w", file, err)
	}
	is, err := encodeYAML(&doc)
	if err != nil || bytes.Equal(was, is) {
		return err
	}
	return replaceFile(file, is)
}

func encodeYAML(doc *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	encoder.CompactSeqIndent() // as kubectl writes it
	if err := encoder.Encode(doc); err != nil {
		return nil, err
	}
	return out.Bytes(), encoder.Close()
}

// replaceEntry takes the entries of that name out of the three lists and puts in
// those of source, where there is one.
func replaceEntry(doc *yaml.Node, name string, source *yaml.Node) error {
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return errors.New("a kubeconfig is a mapping")
	}
	root := doc.Content[0]
	for _, list := range kubeconfigLists {
		entries := value(root, list)
		var put *yaml.Node
		if source != nil {
			put = find(value(source.Content[0], list), name)
			if put == nil {
				return fmt.Errorf("the cluster's kubeconfig has no %s %q", list, name)
			}
		}
		if entries == nil || entries.Kind != yaml.SequenceNode {
			if put == nil {
				continue
			}
			fresh := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
			if entries == nil {
				root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: list}, fresh)
				entries = fresh
			} else { // "clusters: null", as kubectl writes an empty list
				*entries = *fresh
			}
		}
		at := slices.IndexFunc(entries.Content, func(e *yaml.Node) bool { return nameOf(e) == name })
		entries.Content = slices.DeleteFunc(entries.Content, func(e *yaml.Node) bool { return nameOf(e) == name })
		if put != nil {
			if at < 0 {
				at = len(entries.Content)
			}
			if len(entries.Content) == 0 {
				entries.Style = 0 // "clusters: []" becomes a block
			}
			entries.Content = slices.Insert(entries.Content, at, put)
		}
	}
	return nil
}

func value(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

func find(list *yaml.Node, name string) *yaml.Node {
	if list == nil {
		return nil
	}
	for _, e := range list.Content {
		if nameOf(e) == name {
			return e
		}
	}
	return nil
}

func nameOf(entry *yaml.Node) string {
	if entry.Kind == yaml.AliasNode {
		entry = entry.Alias
	}
	if entry.Kind != yaml.MappingNode {
		return ""
	}
	if n := value(entry, "name"); n != nil {
		return n.Value
	}
	return ""
}

// lockKubeconfig takes the lock file of kubectl and kind: file + ".lock", made
// exclusively. They give up at once; kdev waits, since they hold it for an instant.
func lockKubeconfig(ctx context.Context, file string) (unlock func(), err error) {
	lock := file + ".lock"
	deadline := time.NewTimer(5 * time.Second)
	defer deadline.Stop()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		f, err := os.OpenFile(lock, os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			_ = f.Close()
			return func() { _ = os.Remove(lock) }, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("lock the kubeconfig: %w", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-deadline.C:
			return nil, &problem.Problem{Code: "kubeconfig-locked", Where: lock, Summary: "another program holds the lock of the kubeconfig",
				Hint: "when no kubectl or kind is running, one was killed: rm " + lock}
		}
	}
}

// replaceFile writes beside the file and renames, so that nobody ever reads half.
func replaceFile(file string, data []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(data)
	if stat, errStat := os.Stat(file); errStat == nil {
		// Under sudo the file stays its owner's.
		err = errors.Join(err, temp.Chmod(stat.Mode().Perm()), keepOwner(temp, stat))
	}
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	return nil
}
