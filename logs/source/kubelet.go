package source

import "strings"

// Texts that a kubelet sends in the place of log lines, with status 200
// (pkg/kubelet/kuberuntime/logs, pkg/kubelet/kubelet_pods.go).
const (
	textNoInotify = "failed to create fsnotify watcher"
	textNoLog     = "unable to retrieve container logs for "
	textRotated   = "failed to try resolving symlinks in path"
)

func isKubeletText(line string) bool {
	return strings.HasPrefix(line, textNoInotify) || strings.HasPrefix(line, textNoLog) || strings.HasPrefix(line, textRotated)
}

// explain says what a kubelet's text means and what to do, or "" where nobody
// has to know.
func explain(text, node string) string {
	if strings.HasPrefix(text, textNoInotify) {
		if node == "" {
			node = "the node"
		}
		return node + " has no inotify instances left, so its kubelet cannot follow logs; kdev asks once a second instead. " +
			"Raise the limit on the host: sysctl -w fs.inotify.max_user_instances=8192"
	}
	return ""
}
