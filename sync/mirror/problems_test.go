package mirror

import (
	"strings"
	"testing"

	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/protocol"
)

// The hint for a read-only root is one that kdev.yaml takes.
func TestReadOnlyRootHint(t *testing.T) {
	m := New(Options{})
	c := &conversation{w: newWorker(m, m.get("web"), Container{}), welcome: &protocol.Welcome{}}
	for file, hint := range map[string]string{
		"/app/src/a.py": "`sync: [{from: FOLDER, to: /app/src, volume: true}]`",
		"/server.py":    "`COPY src /app`",
	} {
		p := c.w.pathProblem(c, engine.Op{Kind: engine.Put, Path: file}, &protocol.Result{Code: protocol.ReadOnly})
		if p.Code != "sync-read-only" || !strings.Contains(p.Hint, hint) || strings.Contains(p.Hint, "to: /,") {
			t.Errorf("%s: %s, hint %s", file, p.Code, p.Hint)
		}
	}
}
