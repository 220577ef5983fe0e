package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// apiVersion is that of every JSON document that kdev prints; a breaking
// change bumps it.
const apiVersion = "kdev.dev/v1"

// checkOutput refuses a value of --output that the command does not have.
func checkOutput(cmd *cobra.Command, got string, allowed ...string) error {
	if slices.Contains(allowed, got) {
		return nil
	}
	return usageError(cmd, fmt.Sprintf("--output is %s, not %q", strings.Join(allowed, " or "), got))
}

// writeJSON writes one object on one line.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
