package cli

import (
	"maps"
	"testing"
)

func TestAsTheyRun(t *testing.T) {
	stored := map[string]string{"web": "localhost:5001/shop/web:1@sha256:a", "api": "localhost:5001/shop/api:1@sha256:b", "new": "localhost:5001/shop/new:1@sha256:c"}
	running := map[string]string{"web": "registry:5000/shop/web:1@sha256:a", "api": "registry:5000/shop/api:1@sha256:old", "db": "redis:7"}
	want := map[string]string{"web": running["web"], "api": stored["api"], "new": stored["new"]}
	if got := asTheyRun(stored, running); !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
}
