package session

import (
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// The environment of a container names other Services as the cluster's DNS has
// them, which this machine cannot look up. For a program that stands in for the
// container's own, each name that is a place to connect to is replaced by an
// address of this machine from which kdev forwards.

// A named is a Service as an environment may name it.
type named struct {
	name, namespace string
	ip              string // its cluster IP; empty: none
	ports           []int
}

// A site is where a Service is found on this machine: its ports there, by those
// that it has.
type site struct {
	host  string
	ports map[int]int
}

// A translated environment is one of a container, for a program on this machine.
type translated struct {
	vars      []string          // NAME=VALUE
	rewritten map[string]string // values that are other ones now
	left      []leftHost
}

// A leftHost is a variable that names a Service and is as it was: the port that
// belongs to it is another one here, and nothing would say so.
type leftHost struct{ variable, service string }

// standEnvironment makes the environment of a program on this machine from that of
// a container, as NAME=VALUE, with own over it. Services that it names, or that
// needs lists, are asked of reach, which says false where there is no way to one.
func standEnvironment(vars []string, own map[string]string, services []named, needs []string, reach func(named) (site, bool)) translated {
	r := &renaming{services: services, reach: reach, sites: map[string]*site{}, vars: map[string]string{}, linked: linked(vars, services)}
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		if name != "" && !ofContainer(name, value) && !r.isLink(name, value) {
			r.vars[name] = value
		}
	}
	for name, value := range own {
		r.vars[name] = value
	}
	ports := map[string]string{} // variables that hold a port, for a host that another one holds
	rewritten := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(r.vars)) {
		was := r.vars[name]
		if is := r.value(name, was, ports); is != was {
			r.vars[name], rewritten[was] = is, is
		}
	}
	for name, port := range ports {
		r.vars[name] = port
	}
	for _, name := range needs {
		if i := slices.IndexFunc(services, func(n named) bool { return n.name == name }); i >= 0 {
			r.site(services[i])
		}
	}
	for name, s := range r.sites {
		if s != nil {
			r.link(name, s)
		}
	}
	return translated{environment(r.vars), rewritten, r.left}
}

type renaming struct {
	services []named
	reach    func(named) (site, bool)
	sites    map[string]*site // by Service, as reach has said; nil: there is no way
	vars     map[string]string
	linked   map[string]bool // Services for which Kubernetes made variables
	left     []leftHost
}

func (r *renaming) site(n named) *site {
	s, asked := r.sites[n.name]
	if !asked {
		if at, ok := r.reach(n); ok {
			s = &at
		}
		r.sites[n.name] = s
	}
	return s
}

// linkName is the beginning of the variables by which Kubernetes names a Service.
func linkName(service string) string {
	return strings.ToUpper(strings.ReplaceAll(service, "-", "_"))
}

// linked are the Services for which Kubernetes made variables: where a person made
// one of such a name, it holds something else than the Service's address.
func linked(vars []string, services []named) map[string]bool {
	all := map[string]bool{}
	for _, n := range services {
		if n.ip != "" && slices.Contains(vars, linkName(n.name)+"_SERVICE_HOST="+n.ip) {
			all[n.name] = true
		}
	}
	return all
}

// isLink says whether a variable was made by Kubernetes for a Service. There are
// some for each Service of the namespace, whether the program wants it or not.
func (r *renaming) isLink(name, value string) bool {
	for _, n := range r.services {
		rest, ok := strings.CutPrefix(name, linkName(n.name)+"_")
		switch {
		case !ok, !r.linked[n.name]:
		case rest == "SERVICE_HOST", rest == "SERVICE_PORT", strings.HasPrefix(rest, "SERVICE_PORT_"):
			return true
		case rest == "PORT":
			return strings.Contains(value, "://")
		case strings.HasPrefix(rest, "PORT_") && (strings.Contains(rest, "_TCP") || strings.Contains(rest, "_UDP")):
			return true
		}
	}
	return false
}

// link makes these variables for a Service that the program wants.
func (r *renaming) link(service string, s *site) {
	for _, n := range r.services {
		if n.name != service || len(n.ports) == 0 || s.ports[n.ports[0]] == 0 {
			continue
		}
		set := func(name, value string) {
			if _, there := r.vars[name]; !there {
				r.vars[name] = value
			}
		}
		set(linkName(service)+"_SERVICE_HOST", s.host)
		set(linkName(service)+"_SERVICE_PORT", strconv.Itoa(s.ports[n.ports[0]]))
	}
}

// value replaces the Services in one variable. A name alone is a place only where
// the variable's name says so: a database may be called like its Service.
func (r *renaming) value(name, value string, ports map[string]string) string {
	for _, n := range r.services {
		for from := 0; ; {
			m, ok := n.find(value, from)
			if !ok {
				break
			}
			from = m.end
			port, given := m.port, m.port != 0
			scheme := ""
			switch before := value[:m.start]; {
			case given && !slices.Contains(n.ports, port):
				continue
			case given:
			case strings.HasSuffix(before, "://") || strings.HasSuffix(before, "@") && strings.Contains(before, "://"):
				scheme = schemeOf(before)
				if port = n.standard(scheme); port == 0 {
					continue
				}
			case m.start > 0 || m.end < len(value) || !holdsHost(name):
				continue
			}
			s := r.site(n)
			if s == nil {
				break
			}
			to := s.host
			switch {
			case port != 0 && s.ports[port] == 0:
				continue // there is no way to this one
			case given, scheme != "" && s.ports[port] != standardPorts[scheme]:
				to = net.JoinHostPort(s.host, strconv.Itoa(s.ports[port]))
			case scheme == "" && !r.pair(name, n, s, ports):
				r.left = append(r.left, leftHost{name, n.name})
				continue
			}
			value = value[:m.start] + to + value[m.end:]
			from = m.start + len(to)
		}
	}
	return value
}

// pair finds the variable that holds the port beside one that holds the host, and
// says whether the host can be replaced: with the port of another Service, or of
// none, it would lead to whatever listens there on this machine.
func (r *renaming) pair(name string, n named, s *site, ports map[string]string) bool {
	for _, word := range hostWords {
		prefix, ok := strings.CutSuffix(name, word)
		if !ok {
			continue
		}
		beside := prefix + "PORT"
		port, err := strconv.Atoi(r.vars[beside])
		if err != nil {
			break
		}
		to := strconv.Itoa(s.ports[port])
		if s.ports[port] == 0 || ports[beside] != "" && ports[beside] != to {
			return false
		}
		ports[beside] = to
		return true
	}
	for _, port := range n.ports {
		if s.ports[port] != port {
			return false
		}
	}
	return true
}

var hostWords = []string{"HOSTNAME", "HOST", "ADDRESS", "ADDR", "SERVER", "ENDPOINT", "URL", "URI", "BROKERS", "BROKER"}

func holdsHost(variable string) bool {
	return slices.ContainsFunc(hostWords, func(w string) bool { return strings.Contains(strings.ToUpper(variable), w) })
}

// standardPorts are those that a URL leaves out.
var standardPorts = map[string]int{
	"http": 80, "ws": 80, "https": 443, "wss": 443, "redis": 6379, "postgres": 5432, "postgresql": 5432, "mysql": 3306,
	"amqp": 5672, "mongodb": 27017, "nats": 4222, "memcached": 11211,
}

// standard is the port of a URL without one; 0: it cannot be told.
func (n named) standard(scheme string) int {
	if port := standardPorts[scheme]; slices.Contains(n.ports, port) {
		return port
	}
	if len(n.ports) == 1 {
		return n.ports[0]
	}
	return 0
}

// schemeOf is that of the URL whose beginning text ends with.
func schemeOf(text string) string {
	i := strings.LastIndex(text, "://")
	from := strings.LastIndexFunc(text[:i], func(c rune) bool { return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '+') }) + 1
	u, err := url.Parse(text[from:i] + "://x")
	if err != nil {
		return ""
	}
	scheme, _, _ := strings.Cut(u.Scheme, "+") // postgresql+asyncpg
	return scheme
}

// A mention is a place in a text that names a Service.
type mention struct{ start, end, port int }

// find looks for the Service's name from an index on; the longest form counts.
func (n named) find(text string, from int) (mention, bool) {
	forms := []string{n.name + "." + n.namespace + ".svc.cluster.local", n.name + "." + n.namespace + ".svc", n.name + "." + n.namespace, n.name}
	if n.ip != "" {
		forms = append(forms, n.ip)
	}
	for start := from; start < len(text); start++ {
		if start > 0 && inHost(text[start-1]) {
			continue
		}
		for _, form := range forms {
			rest, ok := strings.CutPrefix(text[start:], form)
			if !ok || rest != "" && inHost(rest[0]) {
				continue
			}
			m := mention{start: start, end: start + len(form)}
			if digits, ok := strings.CutPrefix(rest, ":"); ok {
				n := 0
				for n < len(digits) && digits[n] >= '0' && digits[n] <= '9' {
					n++
				}
				if port, err := strconv.Atoi(digits[:n]); err == nil {
					m.port, m.end = port, m.end+1+n
				}
			}
			return m, true
		}
	}
	return mention{}, false
}

func inHost(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}
