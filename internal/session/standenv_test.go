package session

import (
	"slices"
	"strings"
	"testing"
)

func TestStandEnvironment(t *testing.T) {
	services := []named{
		{"redis", "shop", "10.96.0.7", []int{6379}},
		{"api", "shop", "10.96.0.8", []int{80, 9090}},
		{"web-db", "shop", "", []int{5432}},
		{"cache", "shop", "", []int{1, 2}},
	}
	sites := map[string]site{
		"redis":  {"127.0.0.1", map[int]int{6379: 6379}},
		"api":    {"127.0.0.1", map[int]int{80: 41000, 9090: 9090}},
		"web-db": {"127.0.0.2", map[int]int{5432: 41001}},
		"cache":  {"127.0.0.1", map[int]int{1: 41002}},
	}
	for _, tt := range []struct {
		name  string
		vars  []string
		own   map[string]string
		needs []string
		want  []string // without the variables that Kubernetes makes
		links string   // the Services that have these
	}{
		{"nothing is named", []string{"GREETING=hello", "EMPTY="}, nil, nil, []string{"EMPTY=", "GREETING=hello"}, ""},
		{"what is the container's own", []string{"PATH=/bin", "HOME=/", "HOSTNAME=web-1", "KUBERNETES_SERVICE_HOST=10.96.0.1", "A=1"}, nil, nil, []string{"A=1"}, ""},
		{"what loads code, or describes the image", []string{"NODE_OPTIONS=--require /otel.js", "JAVA_TOOL_OPTIONS=-javaagent:/a.jar", "LD_AUDIT=/a.so", "BASH_ENV=/x", "ENV=/etc/shrc", "GOFLAGS=-x",
			"GOPATH=/go", "GIT_SSH_COMMAND=x", "PYTHONPATH=/srv", "XDG_CONFIG_HOME=/c", "npm_config_prefix=/n", "KUBECONFIG=/k"}, nil, nil, nil, ""},
		{"what only looks like it", []string{"ENV=production", "GOOGLE_CLOUD_PROJECT=a", "GIT_COMMIT=abc", "PYTHONUNBUFFERED=1", "DB_OPTIONS=a", "NODE_ENV=test"}, nil, nil,
			[]string{"DB_OPTIONS=a", "ENV=production", "GIT_COMMIT=abc", "GOOGLE_CLOUD_PROJECT=a", "NODE_ENV=test", "PYTHONUNBUFFERED=1"}, ""},
		{"a host whose port moved", []string{"DB_HOST=web-db"}, nil, nil, []string{"DB_HOST=web-db"}, "WEB_DB"},
		{"a host beside another's port", []string{"REDIS_HOST=redis", "REDIS_PORT=7000"}, nil, nil, []string{"REDIS_HOST=redis", "REDIS_PORT=7000"}, "REDIS"},
		{"two hosts beside one port", []string{"A_HOST=web-db", "A_SERVER=web-db", "A_PORT=5432"}, nil, nil, []string{"A_HOST=127.0.0.2", "A_PORT=41001", "A_SERVER=127.0.0.2"}, "WEB_DB"},
		{"a port without a way to it", []string{"A=cache:1", "B=cache:2"}, nil, nil, []string{"A=127.0.0.1:41002", "B=cache:2"}, ""},
		{"what a person called like a link", []string{"API_SERVICE_HOST=api.example.com", "API_SERVICE_PORT=443", "API_PORT_LIMIT=3"}, nil, nil,
			[]string{"API_PORT_LIMIT=3"}, "API"},
		{"host and port", []string{"A=redis:6379", "B=redis.shop:6379,redis:6379", "C=redis:1"}, nil, nil,
			[]string{"A=127.0.0.1:6379", "B=127.0.0.1:6379,127.0.0.1:6379", "C=redis:1"}, "REDIS"},
		{"URLs", []string{"A=redis://redis/0", "B=http://api/v1?x=api", "C=http://user:pw@api.shop.svc.cluster.local:9090", "D=https://api.example.com"}, nil, nil,
			[]string{"A=redis://127.0.0.1/0", "B=http://127.0.0.1:41000/v1?x=api", "C=http://user:pw@127.0.0.1:9090", "D=https://api.example.com"}, "API REDIS"},
		{"a driver in the scheme", []string{"A=postgresql+asyncpg://u:p@web-db/app"}, nil, nil, []string{"A=postgresql+asyncpg://u:p@127.0.0.2:41001/app"}, "WEB_DB"},
		{"host and port apart", []string{"DB_HOST=web-db", "DB_PORT=5432", "DB_NAME=web-db", "REDIS_HOST=redis", "REDIS_PORT=6379"}, nil, nil,
			[]string{"DB_HOST=127.0.0.2", "DB_NAME=web-db", "DB_PORT=41001", "REDIS_HOST=127.0.0.1", "REDIS_PORT=6379"}, "REDIS WEB_DB"},
		{"names within words", []string{"A=myredis:6379", "B=redis-2:6379", "C_HOST=api-gateway"}, nil, nil, []string{"A=myredis:6379", "B=redis-2:6379", "C_HOST=api-gateway"}, ""},
		{"links of Services that nobody names", []string{"REDIS_SERVICE_HOST=10.96.0.7", "REDIS_PORT=tcp://10.96.0.7:6379", "REDIS_PORT_6379_TCP_ADDR=10.96.0.7", "REDIS_SERVICE_PORT=6379", "API_SERVICE_HOST=10.96.0.8", "API_SERVICE_PORT_HTTP=80"}, nil, nil, nil, ""},
		{"an address", []string{"A_HOST=10.96.0.7"}, nil, nil, []string{"A_HOST=127.0.0.1"}, "REDIS"},
		{"what is needed", nil, nil, []string{"redis", "gen"}, nil, "REDIS"},
		{"one's own", []string{"A=1", "B=2"}, map[string]string{"B": "3", "C": "http://api"}, nil, []string{"A=1", "B=3", "C=http://127.0.0.1:41000"}, "API"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			links := map[string]bool{}
			for _, v := range standEnvironment(tt.vars, tt.own, services, tt.needs, func(n named) (site, bool) { s, ok := sites[n.name]; return s, ok }).vars {
				if service, _, ok := strings.Cut(v, "_SERVICE_"); ok {
					links[service] = true
					continue
				}
				got = append(got, v)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			for _, s := range []string{"API", "REDIS", "WEB_DB"} {
				if links[s] != strings.Contains(tt.links, s) {
					t.Errorf("links of %s: %v", s, links[s])
				}
			}
		})
	}
	if got := standEnvironment([]string{"A=redis:6379"}, nil, services, nil, func(named) (site, bool) { return site{}, false }).vars; !slices.Equal(got, []string{"A=redis:6379"}) {
		t.Errorf("no way to it: %q", got)
	}
}
