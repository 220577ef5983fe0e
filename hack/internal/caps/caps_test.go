package caps

import (
	"slices"
	"strings"
	"testing"
)

func TestMissing(t *testing.T) {
	for _, c := range []struct {
		name, status string
		last         int
		want         []string
	}{
		{"full set", "CapBnd:\t000001ffffffffff\n", 40, nil},
		{"without resource", "Name:\tx\nCapBnd:\t000001fffeffffff\nCapAmb:\t0\n", 40, []string{"CAP_SYS_RESOURCE"}},
		{"nothing at all, old kernel", "CapBnd:\t0\n", 1, []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE"}},
		{"what the kernel lacks is not missing", "CapBnd:\t0000003fffffffff\n", 37, nil},
		{"a kernel newer than the table", "CapBnd:\t000001ffffffffff\n", 63, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := missing(strings.NewReader(c.status), c.last)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
	for _, broken := range []string{"", "CapEff:\t0\n", "CapBnd:\tzz\n"} {
		if got, err := missing(strings.NewReader(broken), 40); err == nil {
			t.Errorf("%q: no error, but %q", broken, got)
		}
	}
}

func TestWithout(t *testing.T) {
	have := []string{"CAP_CHOWN", "CAP_SYS_RESOURCE"}
	if kept, less := Without(have, []string{"CAP_SYS_RESOURCE"}); !less || !slices.Equal(kept, []string{"CAP_CHOWN"}) {
		t.Errorf("kept %q, less %v", kept, less)
	}
	if kept, less := Without(have, []string{"CAP_BPF"}); less || !slices.Equal(kept, have) {
		t.Errorf("kept %q, less %v", kept, less)
	}
	if len(have) != 2 || have[1] != "CAP_SYS_RESOURCE" {
		t.Errorf("the argument was changed: %q", have)
	}
}
