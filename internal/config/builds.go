package config

import (
	"maps"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// kinds are the keys of a build that stand for a Dockerfile.
var kinds = []string{"go", "command", "image"}

// otherKind reads a build that has no Dockerfile, and says whether it is one.
func (r *resolver) otherKind(at string, f buildFile, b *Build) bool {
	var given []string
	for _, kind := range kinds {
		if _, ok := r.d.at[join(at, kind)]; ok {
			given = append(given, kind)
		}
	}
	if len(given) == 0 {
		return false
	}
	for _, more := range append(given[1:], "dockerfile", "target", "args", "secrets", "ssh", "cacheFrom", "cacheTo", "network", "extraHosts") {
		if _, ok := r.d.at[join(at, more)]; ok {
			r.add(usage("config-value", r.where("%s", join(at, more)), "keep one of the two", "a build has %s and %s", given[0], more))
		}
	}
	switch given[0] {
	case "go":
		b.Go = r.goBuild(at+".go", f.Go, b)
		b.place("base", r.where("%s.go.base", at))
	case "command":
		b.Command = r.commandBuild(at+".command", f.Command)
		b.place("base", r.where("%s.command.base", at))
		b.place("output", r.where("%s.command.output", at))
	case "image":
		b.Image = f.Image
		b.place("image", r.where("%s.image", at))
	}
	return true
}

func (b *Build) place(key string, at position) {
	if b.Places == nil {
		b.Places = map[string]string{}
	}
	b.Places[key] = at.String()
}

func (r *resolver) goBuild(at string, f goFile, b *Build) *GoBuild {
	g := &GoBuild{Main: path.Clean("./" + f.Main), Flags: f.Flags, Env: texts(f.Env), Base: f.Base}
	dir, err := filepath.Rel(r.root, filepath.Join(b.Context, filepath.FromSlash(g.Main)))
	if err == nil && filepath.IsLocal(dir) && !isFolder(r.root, filepath.ToSlash(dir)) {
		r.add(usage("config-path", r.where("%s.main", at), "check the path: it is relative to the context", "no folder %s", filepath.ToSlash(dir)))
	}
	return g
}

func (r *resolver) commandBuild(at string, f buildCommandFile) *CommandBuild {
	c := &CommandBuild{
		Run: f.Run, Inputs: f.Inputs, Env: texts(f.Env), To: f.To,
		Base: f.Base, Entrypoint: f.Entrypoint, Image: f.Image,
	}
	if f.Output != "" {
		c.Output = path.Clean(f.Output)
	}
	if _, err := onSyncMatcher(f.Inputs); err != nil {
		r.add(usage("config-value", r.where("%s.inputs", at), `write it as "src/**" or go.mod`, "a pattern of inputs cannot be read: %v", err))
	}
	refuse := func(key, value, why string) {
		if value != "" {
			r.add(usage("config-value", r.where("%s", join(at, key)), why, "%s does not belong here", join(at, key)))
		}
	}
	switch {
	case c.Output == "":
		const why = "say with output what the command makes, or take the key out: the command leaves an image on the engine"
		refuse("to", c.To, why)
		refuse("base", c.Base, why)
		refuse("entrypoint", strings.Join(c.Entrypoint, " "), why)
	case c.To == "":
		const why = "say with to where the output lies in the image, or take the key out: the output is an image itself"
		refuse("base", c.Base, why)
		refuse("entrypoint", strings.Join(c.Entrypoint, " "), why)
	case c.Base == "":
		if !r.troubled(at) {
			r.add(usage("config-value", r.where("%s.to", at), "add base: IMAGE, or base: scratch", "%s has no base", at))
		}
	}
	if c.Output != "" {
		refuse("image", c.Image, "keep output or image: the one is a file, the other is on the engine")
	}
	return c
}

// steps reads what the steps of a Dockerfile may use beside its context.
func (r *resolver) steps(at string, f buildFile, b *Build) {
	for _, id := range slices.Sorted(maps.Keys(f.Secrets)) {
		s := f.Secrets[id]
		where := join(at, "secrets."+id)
		if (s.File == "") == (s.Env == "") {
			if !r.troubled(where) {
				r.add(usage("config-value", r.where("%s", where), "write {file: FILE} or {env: VARIABLE}", "%s needs a file or a variable, and one of them", where))
			}
			continue
		}
		out := BuildSecret{Env: s.Env}
		if s.File != "" {
			out.File = r.ownFile(s.File)
		}
		if b.Secrets == nil {
			b.Secrets = map[string]BuildSecret{}
		}
		b.Secrets[id] = out
		b.place("secrets."+id, r.where("%s", where))
	}
	if len(f.SSH) > 0 {
		b.place("ssh", r.where("%s.ssh", at))
	}
	for _, text := range f.SSH {
		if id, path, named := strings.Cut(text, "="); named {
			text = id + "=" + r.ownFile(path)
		}
		b.SSH = append(b.SSH, text)
	}
	b.CacheFrom, b.CacheTo = f.CacheFrom, f.CacheTo
	if f.Network != "default" {
		b.Network = f.Network
	}
	for _, name := range slices.Sorted(maps.Keys(f.ExtraHosts)) {
		if net.ParseIP(f.ExtraHosts[name]) == nil {
			r.add(usage("config-value", r.where("%s.extraHosts.%s", at, name), "write an address: "+name+": 10.0.0.5", "%q is no address", f.ExtraHosts[name]))
		}
	}
	b.ExtraHosts = f.ExtraHosts
}

// ownFile is a file of the person's own: of the project, or anywhere.
func (r *resolver) ownFile(file string) string {
	if rest, ok := strings.CutPrefix(file, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, filepath.FromSlash(rest))
		}
	}
	if filepath.IsAbs(file) {
		return filepath.Clean(file)
	}
	return filepath.Join(r.root, filepath.FromSlash(file))
}

// texts is a mapping whose values are kept as they were written.
func texts(m map[string]text) map[string]string {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = string(v)
	}
	return out
}
