//go:build e2e

package e2e

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path"
	"sort"
	"strings"
	"testing"
	"time"
)

// An oracle keeps the files that the node's runtime writes for the containers of
// a namespace, past rotation and past the pods' end: by a second name of each, as
// a hard link. It knows nothing of the API.
type oracle struct {
	t         testing.TB
	namespace string
	dir       string // in the node
	done      chan error
}

// keep links what is new, again and again, until the file "on" is gone.
const keepScript = `
mkdir -p %[1]s; touch %[1]s/on
while
	goes=; [ -e %[1]s/on ] && goes=1
	find /var/log/pods -path '/var/log/pods/%[2]s_*' -type f -name '*.log*' ! -name '*.gz' ! -name '*.tmp' -links 1 2>/dev/null | while read -r f; do
		i=$(stat -c %%i "$f") && ln "$f" %[1]s/$i && echo "$i $f" >>%[1]s/index
	done 2>/dev/null
	[ $goes ]
do sleep 0.1; done`

func newOracle(t testing.TB, namespace string) *oracle {
	t.Helper()
	o := &oracle{t: t, namespace: namespace, dir: "/var/log/kdev-oracle/" + namespace, done: make(chan error, 1)}
	go func() {
		_, err := onNode(context.Background(), fmt.Sprintf(keepScript, o.dir, namespace))
		o.done <- err
	}()
	t.Cleanup(func() {
		if _, err := onNode(context.Background(), "rm -rf "+o.dir); err != nil {
			t.Error(err)
		}
	})
	// It has to run before the first pod does.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := onNode(ctx, "until [ -e "+o.dir+"/on ]; do sleep 0.02; done"); err != nil {
		t.Fatal(err)
	}
	return o
}

// A written is one line as the runtime stamped it.
type written struct {
	time int64
	text string
}

// stop ends the keeping and returns, by pod and container, what was written, in
// its order. Call it when the containers have ended.
func (o *oracle) stop() map[string][]written {
	o.t.Helper()
	if _, err := onNode(context.Background(), "rm "+o.dir+"/on"); err != nil {
		o.t.Fatal(err)
	}
	if err := <-o.done; err != nil {
		o.t.Fatal(err)
	}
	cmd := exec.Command("docker", "exec", node, "tar", "c", "-C", o.dir, ".")
	out, err := cmd.StdoutPipe()
	if err != nil {
		o.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	files, index := map[string][]written{}, ""
	for r := tar.NewReader(out); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			o.t.Fatal(err)
		}
		if path.Base(h.Name) == "index" {
			b, err := io.ReadAll(r)
			if err != nil {
				o.t.Fatal(err)
			}
			index = string(b)
		} else if h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeLink {
			if files[path.Base(h.Name)], err = readCRI(r); err != nil {
				o.t.Fatalf("%s: %v", h.Name, err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		o.t.Fatal(err)
	}
	// Files of one container follow each other by the time of their first line.
	by := map[string][][]written{}
	for line := range strings.Lines(index) {
		inode, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		// /var/log/pods/<namespace>_<pod>_<uid>/<container>/<n>.log
		parts := strings.Split(name, "/")
		key := strings.Split(parts[4], "_")[1] + " " + parts[5]
		if lines := files[inode]; len(lines) > 0 {
			by[key] = append(by[key], lines)
		}
	}
	all := map[string][]written{}
	for key, list := range by {
		sort.Slice(list, func(i, j int) bool { return list[i][0].time < list[j][0].time })
		for _, lines := range list {
			all[key] = append(all[key], lines...)
		}
	}
	return all
}

// readCRI reads the runtime's form of a log: time, stream, F for a full line or P
// for a part of one, text. A line has the time of its first part, as the API shows it.
func readCRI(r io.Reader) ([]written, error) {
	var out []written
	var part []byte
	var first time.Time
	in := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			return out, nil // a half line is one that was never ended
		}
		if err != nil {
			return nil, err
		}
		fields := bytes.SplitN(bytes.TrimSuffix(line, []byte("\n")), []byte(" "), 4)
		if len(fields) != 4 {
			return nil, fmt.Errorf("not a line of a container: %q", line)
		}
		if len(part) == 0 {
			if first, err = time.Parse(time.RFC3339Nano, string(fields[0])); err != nil {
				return nil, err
			}
		}
		part = append(part, fields[3]...)
		if string(fields[2]) == "P" {
			continue
		}
		out = append(out, written{first.UnixNano(), string(part)})
		part = part[:0]
	}
}
