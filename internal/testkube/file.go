package testkube

import (
	"bytes"
	"net/http"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// file serves the file of a container's first run as a kubelet's /logs/ does: the lines of
// the runtime, whatever the pod's status says. Bare entries are the kubelet's and in no file.
func (s *Server) file(w http.ResponseWriter, r *http.Request) {
	if s.forbidden(w, "get", "nodes/proxy", "") {
		return
	}
	parts := strings.SplitN(r.PathValue("folder"), "_", 3) // namespace, pod, uid
	if len(parts) != 3 {
		fail(w, http.StatusNotFound, metav1.StatusReasonNotFound, "404 page not found")
		return
	}
	text := s.Log(parts[0], parts[1], r.PathValue("container")).file()
	if len(text) == 0 {
		fail(w, http.StatusNotFound, metav1.StatusReasonNotFound, "404 page not found")
		return
	}
	http.ServeContent(w, r, "0.log", time.Time{}, bytes.NewReader(text))
}

// file is the first run as containerd writes it.
func (l *Log) file() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b bytes.Buffer
	for _, e := range l.runs[0] {
		if e.Bare {
			continue
		}
		parts := e.Parts
		if len(parts) == 0 {
			parts = []string{e.Text}
		}
		for i, part := range parts {
			tag := "P"
			if i == len(parts)-1 {
				tag = "F"
			}
			b.WriteString(e.Time.Format(time.RFC3339Nano) + " stdout " + tag + " " + part + "\n")
		}
	}
	return b.Bytes()
}
