package session

import (
	"context"
	"errors"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kdev-io/kdev/internal/kube"
)

// TestMeter: what agents tell since a container began becomes what it takes now; one
// that was started anew begins anew, and one that says nothing is left out.
func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := kube.UsageKey{Pod: "web-1", Container: "web"}, kube.UsageKey{Pod: "web-2", Container: "web"}
		cpu := map[kube.UsageKey]time.Duration{a: 40 * time.Second}
		m := meter{ask: func(_ context.Context, at kube.UsageKey) (time.Duration, int64, error) {
			if _, ok := cpu[at]; !ok {
				return 0, 0, errors.New("it does not know")
			}
			return cpu[at], 5 << 20, nil
		}}
		for _, step := range []struct{ cpu, want int }{
			{40_000, 0}, {42_500, 250}, {42_501, 1}, {42_501, 0}, {100, 0}, {10_100, 1000},
		} {
			cpu[a] = time.Duration(step.cpu) * time.Millisecond
			got := m.read(t.Context(), []kube.UsageKey{a, b})
			if want := (map[kube.UsageKey]kube.Usage{a: {CPU: int64(step.want), Memory: 5 << 20}}); !maps.Equal(got, want) {
				t.Errorf("after %d ms of a processor: %v, want %v", step.cpu, got, want)
			}
			time.Sleep(10 * time.Second)
		}
	})
}

func TestShortOutput(t *testing.T) {
	stopped := false
	out := shortOutput{stop: func() { stopped = true }}
	if _, err := out.Write([]byte("123 456\n")); err != nil || stopped {
		t.Fatal(err)
	}
	if _, err := out.Write(make([]byte, mostAnswer)); err == nil || !stopped || out.String() != "123 456\n" {
		t.Errorf("%v, stopped %v, %q", err, stopped, out.String())
	}
}
