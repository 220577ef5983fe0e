package sbom

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/textproto"
	"net/url"
	"path"
	"strings"
)

// stanzas reads "Key: value" lines (dpkg), "K:value" lines (apk), in paragraphs.
// Continued lines are of descriptions and left out.
func stanzas(from string, text []byte) []stanza {
	var all []stanza
	fields := map[string]string{}
	for line := range bytes.Lines(text) {
		l := strings.TrimRight(string(line), "\r\n")
		switch {
		case strings.TrimSpace(l) == "":
			if len(fields) > 0 {
				all = append(all, stanza{fields, from})
				fields = map[string]string{}
			}
		case l[0] == ' ' || l[0] == '\t':
		default:
			if key, value, ok := strings.Cut(l, ":"); ok {
				if _, seen := fields[key]; !seen {
					fields[key] = strings.TrimSpace(value)
				}
			}
		}
	}
	if len(fields) > 0 {
		all = append(all, stanza{fields, from})
	}
	return all
}

// osRelease reads VARIABLE=value lines (os-release(5)). What is in /etc is most
// often a link to the other file, and no file of its own.
func (s *scanner) osRelease(text []byte) {
	s.release = map[string]string{}
	for line := range bytes.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(string(line)), "="); ok {
			s.release[key] = strings.Trim(value, `"'`)
		}
	}
}

// distribution adds the packages of dpkg and apk under the distribution's name.
func (s *scanner) distribution() {
	id, release := s.release["ID"], s.release["VERSION_ID"]
	qualified := func(kind, fallback string, st stanza, name, version, arch string) Package {
		space := id
		if space == "" {
			space = fallback
		}
		u := purl(kind, space+"/"+name, version)
		var q []string
		if arch != "" {
			q = append(q, "arch="+url.QueryEscape(arch))
		}
		if id != "" && release != "" {
			q = append(q, "distro="+url.QueryEscape(id+"-"+release))
		}
		if len(q) > 0 {
			u += "?" + strings.Join(q, "&")
		}
		return Package{Name: name, Version: version, URL: u, From: st.from}
	}
	for _, st := range s.debs {
		f := st.fields
		// In status.d of distroless images there is no status: all are installed.
		if status := f["Status"]; status != "" && !strings.HasSuffix(status, " installed") {
			continue
		}
		s.add(qualified("deb", "debian", st, f["Package"], f["Version"], f["Architecture"]))
	}
	for _, st := range s.apks {
		s.add(qualified("apk", "alpine", st, st.fields["P"], st.fields["V"], st.fields["A"]))
	}
}

func (s *scanner) npmPackage(name string, text []byte) {
	var p struct{ Name, Version string }
	if json.Unmarshal(text, &p) == nil {
		s.npm(name, p.Name, p.Version)
	}
}

// npmLock reads what a lock of version 2 or 3 says is installed for production.
func (s *scanner) npmLock(name string, text []byte) {
	var lock struct {
		Packages map[string]struct {
			Name, Version string
			Dev, Link     bool
		}
	}
	if json.Unmarshal(text, &lock) != nil {
		return
	}
	for at, p := range lock.Packages {
		i := strings.LastIndex(at, "node_modules/")
		if i < 0 || p.Dev || p.Link {
			continue
		}
		if p.Name == "" {
			p.Name = at[i+len("node_modules/"):]
		}
		s.npm(name, p.Name, p.Version)
	}
}

func (s *scanner) npm(from, name, version string) {
	s.add(Package{Name: name, Version: version, URL: purl("npm", name, version), From: from})
}

// python reads the headers of the core metadata.
func (s *scanner) python(name string, text []byte) {
	h, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(text))).ReadMIMEHeader()
	if err != nil && len(h) == 0 {
		return
	}
	plain := strings.ToLower(strings.ReplaceAll(h.Get("Name"), "_", "-"))
	s.add(Package{Name: h.Get("Name"), Version: h.Get("Version"), URL: purl("pypi", plain, h.Get("Version")), From: name})
}

// purl is a package URL (github.com/package-url/purl-spec).
func purl(kind, name, version string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(url.PathEscape(p), "@", "%40")
	}
	return "pkg:" + kind + "/" + path.Join(parts...) + "@" + strings.ReplaceAll(url.PathEscape(version), "+", "%2B")
}
