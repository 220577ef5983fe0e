package layout

import "strings"

// Mirror names the repository that holds a copy of another registry's: the
// host becomes a path component, so its port's colon has to go.
func Mirror(host, repository string) string {
	if host == "index.docker.io" {
		host = "docker.io" // what containerd calls it
	}
	return "mirror/" + strings.ReplaceAll(host, ":", "_") + "/" + repository
}
