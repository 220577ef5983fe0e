package config

import "strings"

// buildkit reads where the steps of Dockerfiles run.
func (r *resolver) buildkit() {
	f := r.f.BuildKit
	r.p.BuildKit = BuildKit{Address: f.Address, ServerName: f.TLS.ServerName, Image: f.Image, Rootless: f.Rootless}
	for _, file := range []struct {
		from string
		to   *string
	}{{f.TLS.CA, &r.p.BuildKit.CA}, {f.TLS.Cert, &r.p.BuildKit.Cert}, {f.TLS.Key, &r.p.BuildKit.Key}, {f.Config, &r.p.BuildKit.Config}} {
		if file.from != "" {
			*file.to = r.ownFile(file.from)
		}
	}
	if (f.TLS.Cert == "") != (f.TLS.Key == "") && !r.troubled("buildkit.tls") {
		r.add(usage("config-value", r.where("buildkit.tls"), "name both: cert and key", "buildkit.tls has one of cert and key, and they go together"))
	}
	// Without an address of its own the file's keys are for that of $BUILDKIT_HOST.
	only := func(fits bool, kind string, keys ...string) {
		for _, key := range keys {
			if _, written := r.d.at[join("buildkit", key)]; written && f.Address != "" && !fits {
				r.add(usage("config-value", r.where("buildkit.%s", key), "take it out", "buildkit.%s is for %s, and the address is %s", key, kind, f.Address))
			}
		}
	}
	only(strings.HasPrefix(f.Address, "tcp://"), "tcp://", "tls")
	only(f.Address == ClusterBuildKit, "cluster", "image", "rootless", "config")
}
