package engine

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	buildkit "github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/moby/buildkit/session/sshforward/sshprovider"

	"github.com/kdev-io/kdev/internal/problem"
)

// Options are what an engine's steps may use beside the files of the context.
type Options struct {
	Secrets   map[string]Secret // by ID, for RUN --mount=type=secret
	SSH       []string          // for RUN --mount=type=ssh: "default", or "ID=SOCKET OR KEY"
	SSHWhere  string            // where that is written, for problems
	CacheFrom []string          // "ghcr.io/acme/web:cache", or as docker buildx writes it: "type=registry,ref=…"
	CacheTo   []string          // likewise; "type=inline"
	Network   string            // of RUN: "" and "default", "none", "host"
	Hosts     map[string]string // addresses by name, for RUN
}

// A Secret is read when the engine's build begins, and is in no image, cache or log.
type Secret struct {
	File string // absolute
	Env  string // variable of this process, where File is empty

	Where string // where it is written, for problems
}

// Fields are what of the options can change an image, for the keys of caches.
// A secret is none of it, as with docker build.
func (o Options) Fields() []string {
	if cmp.Or(o.Network, "default") == "default" && len(o.Hosts) == 0 {
		return nil
	}
	parts := []string{"network", o.Network, "hosts"}
	for _, name := range slices.Sorted(maps.Keys(o.Hosts)) {
		parts = append(parts, name, o.Hosts[name])
	}
	return parts
}

// attach gives a solve what the options name.
func (o Options) attach(opt *buildkit.SolveOpt) error {
	attachables := []session.Attachable{credentials()}
	if len(o.Secrets) > 0 {
		values := map[string][]byte{}
		for id, s := range o.Secrets {
			v, err := s.Read(id)
			if err != nil {
				return err
			}
			values[id] = v
		}
		attachables = append(attachables, secretsprovider.FromMap(values))
	}
	if len(o.SSH) > 0 {
		var agents []sshprovider.AgentConfig
		for _, text := range o.SSH {
			id, path, named := strings.Cut(text, "=")
			a := sshprovider.AgentConfig{ID: id}
			if named {
				a.Paths = strings.Split(path, ",")
			}
			agents = append(agents, a)
		}
		p, err := sshprovider.NewSSHAgentProvider(agents)
		if err != nil {
			return &problem.Problem{
				Code: "build-ssh", Where: o.SSHWhere, Summary: "the ssh agent or key of the build cannot be used", Err: err,
				Hint: "start one and add the key: eval $(ssh-agent) && ssh-add; or name a key: ssh: [default=~/.ssh/id_ed25519]",
			}
		}
		attachables = append(attachables, p)
	}
	opt.Session = attachables
	opt.CacheImports, opt.CacheExports = caches(o.CacheFrom), caches(o.CacheTo)
	if o.Network == "host" {
		opt.AllowedEntitlements = append(opt.AllowedEntitlements, "network.host")
	}
	return nil
}

// Read is the secret's value now.
func (s Secret) Read(id string) ([]byte, error) {
	if s.File == "" {
		v, ok := os.LookupEnv(s.Env)
		if !ok {
			return nil, &problem.Problem{Code: "build-secret", Where: s.Where, Summary: "the build secret " + id + " has no value", Err: fmt.Errorf("$%s is not set", s.Env), Hint: "export " + s.Env + "=…"}
		}
		return []byte(v), nil
	}
	v, err := os.ReadFile(s.File)
	if err != nil {
		return nil, &problem.Problem{Code: "build-secret", Where: s.Where, Summary: "the build secret " + id + " cannot be read", Err: err, Hint: "write the file, or name another one under build.secrets"}
	}
	if len(v) > secretsprovider.MaxSecretSize {
		return nil, &problem.Problem{Code: "build-secret", Where: s.Where, Summary: fmt.Sprintf("the build secret %s (%s) has %d bytes, and %d is the most", id, s.File, len(v), secretsprovider.MaxSecretSize), Hint: "name a smaller file under build.secrets"}
	}
	return v, nil
}

// caches reads the form of docker buildx; a plain reference is of a registry.
func caches(texts []string) []buildkit.CacheOptionsEntry {
	var out []buildkit.CacheOptionsEntry
	for _, text := range texts {
		if !strings.Contains(text, "=") {
			out = append(out, buildkit.CacheOptionsEntry{Type: "registry", Attrs: map[string]string{"ref": text}})
			continue
		}
		e := buildkit.CacheOptionsEntry{Attrs: map[string]string{}}
		for _, field := range strings.Split(text, ",") {
			key, value, _ := strings.Cut(field, "=")
			if key == "type" {
				e.Type = value
				continue
			}
			e.Attrs[key] = value
		}
		out = append(out, e)
	}
	return out
}

// attrs are the options as the Dockerfile frontend reads them.
func (o Options) attrs(into map[string]string) {
	if o.Network == "none" || o.Network == "host" {
		into["force-network-mode"] = o.Network
	}
	var hosts []string
	for _, name := range slices.Sorted(maps.Keys(o.Hosts)) {
		hosts = append(hosts, name+"="+o.Hosts[name])
	}
	if len(hosts) > 0 {
		into["add-hosts"] = strings.Join(hosts, ",")
	}
}
