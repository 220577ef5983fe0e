package nodeimage

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/hack/internal/step"
)

func TestWithHugePages(t *testing.T) {
	tests := []struct {
		name, setting, during, after string
		told                         bool
	}{
		{"on request only", "always [madvise] never\n", "always", "madvise", true},
		{"never", "always madvise [never]\n", "always", "never", true},
		{"always", "[always] madvise never\n", "[always] madvise never\n", "[always] madvise never\n", false},
		{"something else", "?\n", "?\n", "?\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "enabled")
			if err := os.WriteFile(file, []byte(tt.setting), 0o644); err != nil {
				t.Fatal(err)
			}
			read := func() string {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				return string(text)
			}
			var out bytes.Buffer
			want := errors.New("the compile's")
			err := withHugePages(step.NewLog(&out), file, func() error {
				if got := read(); got != tt.during {
					t.Errorf("during: %q, want %q", got, tt.during)
				}
				return want
			})
			if err != want {
				t.Errorf("error %v", err)
			}
			if got := read(); got != tt.after {
				t.Errorf("after: %q, want %q", got, tt.after)
			}
			if told := strings.Contains(out.String(), "huge pages"); told != tt.told {
				t.Errorf("told %q", out.String())
			}
		})
	}
	ran := false
	if err := withHugePages(step.NewLog(&bytes.Buffer{}), filepath.Join(t.TempDir(), "none"), func() error { ran = true; return nil }); err != nil || !ran {
		t.Errorf("where there is no such setting: %v, ran %v", err, ran)
	}
}
