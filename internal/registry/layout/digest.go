package layout

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
)

// A Digest is "sha256:" and 64 lower-case hexadecimal digits. Other
// algorithms are refused: nothing that kdev talks to uses them.
type Digest string

// ParseDigest checks s, which may come from a foreign client or a file.
func ParseDigest(s string) (Digest, error) {
	h, ok := strings.CutPrefix(s, "sha256:")
	if !ok || len(h) != 64 || strings.ToLower(h) != h {
		return "", fmt.Errorf("digest %q: want sha256:<64 lower-case hexadecimal digits>", s)
	}
	if _, err := hex.DecodeString(h); err != nil {
		return "", fmt.Errorf("digest %q: want sha256:<64 lower-case hexadecimal digits>", s)
	}
	return Digest(s), nil
}

// Hex is the digest without its algorithm; only valid on a parsed Digest.
func (d Digest) Hex() string { return strings.TrimPrefix(string(d), "sha256:") }

// The grammars are those of the distribution spec, "Pulling manifests".
var (
	repository = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tag        = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

// ValidRepository says whether name can name a repository.
func ValidRepository(name string) bool {
	return len(name) <= 255 && repository.MatchString(name)
}

// ValidTag says whether name can be a tag.
func ValidTag(name string) bool { return tag.MatchString(name) }
