// Command runcaps is runc for a machine whose capability bounding set is not full.
//
// A privileged container asks for every capability that the kernel knows, and runc fails with "unable to apply caps:
// operation not permitted" where the machine itself was started without one of them. runcaps stands in front of runc: it
// takes the missing ones out of the container's spec, raises an OOM score that could not be lowered, and becomes runc.
// It is called with runc's own arguments. On a machine that lacks nothing it changes nothing.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/kdev-io/kdev/hack/internal/caps"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		// The engine shows the last line of standard error of a runtime that failed.
		fmt.Fprintln(os.Stderr, "runcaps:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	runc, err := exec.LookPath("runc")
	if err != nil {
		return fmt.Errorf("looking for runc: %w", err)
	}
	absent, err := caps.Missing()
	if err != nil {
		return err
	}
	if s := specOf(args); s.path != "" && len(absent) > 0 {
		if err := rewrite(s, absent); err != nil {
			return err
		}
	}
	return syscall.Exec(runc, append([]string{"runc"}, args...), os.Environ())
}
