package pullthrough_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/registry/pullthrough"
)

func TestAllowed(t *testing.T) {
	for addr, want := range map[string][2]bool{ // unnamed, named
		"93.184.215.14":                    {true, true},
		"2606:2800:21f:cb07:6820:80da:0:1": {true, true},
		"64:ff9b::5db8:d70e":               {true, true},
		"10.0.0.1":                         {false, true},
		"172.18.0.1":                       {false, true},
		"192.168.1.1":                      {false, true},
		"100.64.0.1":                       {false, true},
		"::ffff:10.0.0.1":                  {false, true},
		"64:ff9b::a00:1":                   {false, true},
		"fd12::1":                          {false, true},
		"127.0.0.1":                        {false, false},
		"127.8.8.8":                        {false, false},
		"::1":                              {false, false},
		"::ffff:127.0.0.1":                 {false, false},
		"64:ff9b::7f00:1":                  {false, false},
		"0.0.0.0":                          {false, false},
		"0.1.2.3":                          {false, false},
		"::":                               {false, false},
		"169.254.169.254":                  {false, false},
		"fe80::1%eth0":                     {false, false},
		"fd00:ec2::254":                    {false, false},
		"100.100.100.200":                  {false, false},
		"168.63.129.16":                    {false, false},
		"224.0.0.1":                        {false, false},
		"255.255.255.255":                  {false, false},
		"ff02::1":                          {false, false},
	} {
		a := netip.MustParseAddr(addr)
		if got := [2]bool{pullthrough.Allowed(a, false), pullthrough.Allowed(a, true)}; got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
}

func TestAskable(t *testing.T) {
	for host, want := range map[string][2]bool{
		"docker.io":                {true, true},
		"ghcr.io:8443":             {true, true},
		"registry.corp.example":    {true, true},
		"registry":                 {false, true},
		"registry:5000":            {false, true},
		"registry.internal":        {false, true},
		"10.0.0.5:5000":            {false, true},
		"localhost":                {false, false},
		"localhost:5000":           {false, false},
		"x.localhost":              {false, false},
		"127.0.0.1:5000":           {false, false},
		"169.254.169.254":          {false, false},
		"metadata.google.internal": {false, false},
		"":                         {false, false},
		"a/b":                      {false, false},
		"user@host.example":        {false, false},
		"host.example:port":        {false, false},
		"[::1]:5000":               {false, false},
		strings.Repeat("a", 300):   {false, false},
	} {
		if got := [2]bool{pullthrough.Askable(host, false), pullthrough.Askable(host, true)}; got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
}

func TestExcepted(t *testing.T) {
	for _, c := range []struct {
		host, port, list string
		want             bool
	}{
		{"docker.io", "", "", false},
		{"docker.io", "", "*", true},
		{"docker.io", "", "ghcr.io, docker.io", true},
		{"registry-1.docker.io", "", "docker.io", true},
		{"notdocker.io", "", "docker.io", false},
		{"docker.io", "", ".docker.io", false},
		{"a.docker.io", "", ".docker.io", true},
		{"a.docker.io", "", "*.docker.io", true},
		{"docker.io", "", "docker.io:443", true},
		{"docker.io", "5000", "docker.io:443", false},
		{"10.1.2.3", "", "10.0.0.0/8", true},
		{"11.1.2.3", "", "10.0.0.0/8", false},
		{"10.1.2.3", "", "10.1.2.3", true},
		{"x10.1.2.3", "", "10.1.2.3", false},
		{"docker.io", "", "10.0.0.0/8,,", false},
	} {
		if got := pullthrough.Excepted(c.host, c.port, strings.Split(c.list, ",")); got != c.want {
			t.Errorf("%s:%s of %q: %t", c.host, c.port, c.list, got)
		}
	}
}

func TestChallenge(t *testing.T) {
	for text, want := range map[string]string{
		`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a:pull"`: "bearer https://auth.docker.io/token registry.docker.io",
		`bearer service=x , realm="y"`: "bearer y x",
		`Basic realm="x, y"`:           "basic x, y ",
		`Negotiate`:                    "negotiate  ",
		``:                             "  ",
		`Bearer realm="open`:           "bearer open ",
	} {
		scheme, p := pullthrough.Challenge(text)
		if got := scheme + " " + p["realm"] + " " + strings.TrimSpace(p["service"]); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func FuzzChallenge(f *testing.F) {
	f.Add(`Bearer realm="https://auth.docker.io/token",service="registry.docker.io"`)
	f.Add(`Basic realm=x,,=`)
	f.Fuzz(func(t *testing.T, text string) {
		scheme, p := pullthrough.Challenge(text)
		if strings.Contains(scheme, " ") || len(p) > strings.Count(text, "=") {
			t.Errorf("%q is read as %q %v", text, scheme, p)
		}
	})
}
