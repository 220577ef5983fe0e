package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWatchPrintsBatches runs the command outside of any project, as a tool of
// its own, and ends it as Ctrl-C does.
func TestWatchPrintsBatches(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "src"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, outWriter := io.Pipe()
	errs, errWriter := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	code := make(chan int, 1)
	go func() {
		code <- Main(ctx, Env{In: strings.NewReader(""), Out: outWriter, Err: errWriter, Dir: dir, Getenv: os.Getenv}, []string{"watch", "--output", "json"})
		outWriter.Close()
		errWriter.Close()
	}()
	stuck := time.AfterFunc(time.Minute, func() { cancel(); outWriter.Close(); errWriter.Close() })
	defer stuck.Stop()
	if line, _ := bufio.NewReader(errs).ReadString('\n'); !strings.HasPrefix(line, "watching ") {
		t.Fatalf("stderr begins with %q", line)
	}
	go io.Copy(io.Discard, errs)
	if err := os.WriteFile(filepath.Join(dir, "src", "a.txt"), []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var batch struct {
		Generation uint64
		Time       time.Time
		Changes    []struct{ Path, Op string }
	}
	if err := json.Unmarshal([]byte(line), &batch); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if batch.Generation != 1 || batch.Time.IsZero() || len(batch.Changes) != 1 || batch.Changes[0].Path != "src/a.txt" || batch.Changes[0].Op != "create" {
		t.Errorf("%s", line)
	}
	go io.Copy(io.Discard, out)
	cancel()
	if got := <-code; got != exitInterrupted {
		t.Errorf("exit code %d, want %d", got, exitInterrupted)
	}
}

// A rule of the configuration is named with the file and line that it stands in.
func TestExplainNamesTheLineOfTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"kdev.yaml":       "name: x\nwatch:\n  ignore: [tmp/, t, \"*.foo\", &up up/,\n    *up ]\nservices: {t: {}}\n",
		"kdev.local.yaml": "watch:\n  ignore:\n  - tmp/\n  - mine\n  - |\n    a\n    lines\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for rule, want := range map[string]string{
		"mine": "kdev.local.yaml:4", "lines": "kdev.local.yaml:7", "tmp/": "kdev.local.yaml:3",
		"t": "kdev.yaml:3", "*.foo": "kdev.yaml:3", "up/": "kdev.yaml:3", // not the line that holds the same letters
		"name": "kdev.yaml:0", "other": "kdev.yaml:0",
	} {
		if file, line := placeOf(dir, rule); fmt.Sprintf("%s:%d", filepath.Base(file), line) != want {
			t.Errorf("%s: %s:%d, want %s", rule, file, line, want)
		}
	}
}
