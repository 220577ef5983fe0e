package nodeimage

import (
	"os"
	"strings"

	"github.com/kdev-io/kdev/hack/internal/step"
)

// hugePages is the kernel's setting; Debian's own kernels come with "always".
const hugePages = "/sys/kernel/mm/transparent_hugepage/enabled"

// withHugePages runs f with huge pages for every process, and then puts the setting back. Compilers start a thousand times
// and touch fresh memory each time: on a virtual machine that is set to "madvise", page faults take a quarter of the time of
// the whole compile. Without the right to change it, f just takes longer.
func withHugePages(log *step.Log, file string, f func() error) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return f() // not Linux, or a kernel without them
	}
	old := chosen(string(text))
	if old == "always" || old == "" || os.WriteFile(file, []byte("always"), 0o644) != nil {
		return f()
	}
	log.Say(area, "transparent huge pages: "+old+" -> always, while it compiles")
	defer func() { _ = os.WriteFile(file, []byte(old), 0o644) }()
	return f()
}

// chosen is the word in brackets.
func chosen(setting string) string {
	_, rest, _ := strings.Cut(setting, "[")
	word, _, _ := strings.Cut(rest, "]")
	return word
}
