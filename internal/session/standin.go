package session

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/local"
	"github.com/kdev-io/kdev/internal/problem"
)

// A program that stands in for a service's own is started when one of the service's
// containers runs, with that one's environment. When it is ready, the agents in the
// containers end the program there and carry what connects to it here, for as long
// as the session lasts. What is saved is neither built nor synced meanwhile.

// leaves is the choice for a service whose image is not to follow the tree: any
// image with an agent will do.
func (l *loop) leaves(svc *service, live string) (choice, bool) {
	digest := digestOf(live)
	record, ok := build.LoadRecord(l.s.parts.Store, digest)
	if !ok {
		return choice{}, false
	}
	if has, known := build.HasAgent(l.s.parts.Store, digest); !has || !known {
		return choice{}, false
	}
	why := "its program runs on this machine"
	if svc.back {
		why = "it was rolled back"
	}
	return choice{keep: live, record: record, why: why}, true
}

// seeStandIns looks at what the programs that stand in need, and tells how they
// have gone on since the last look.
func (l *loop) seeStandIns() {
	for _, svc := range l.services {
		u := svc.here
		if u == nil {
			continue
		}
		if svc.off || l.taken {
			u.stand.want(nil, false)
			continue
		}
		l.seeStandIn(svc)
		if l.objects == nil {
			continue // which pods are its own is not known yet: those of the loop before go on
		}
		if !l.deployed {
			u.stand.want(nil, false)
			continue
		}
		u.stand.want(l.standContainers(svc), u.up)
		u.stand.avoid(l.portsHere())
		l.giveEnvironment(svc)
	}
}

// standContainers are the containers of svc that run its image.
func (l *loop) standContainers(svc *service) []standContainer {
	var all []standContainer
	for _, pod := range l.pods(svc) {
		first := true
		for _, c := range syncable(pod) {
			if c.init || !svc.runsImage(c.image) {
				continue
			}
			if c.running {
				all = append(all, standContainer{containerKey{pod.Name, c.name}, l.standPorts(svc, pod, c.name, first)})
			}
			first = false
		}
	}
	slices.SortFunc(all, func(a, b standContainer) int { return compareKeys(a.key, b.key) })
	return all
}

// portsHere are the ports of localhost that the session itself has, by what has them.
func (l *loop) portsHere() map[int]string {
	ours := map[int]string{}
	for _, f := range l.forwarders {
		if f.port.Host == "" || onLoopback(f.port.Host) {
			ours[f.local] = "the forwarded port of " + f.service
		}
	}
	if f := l.s.front; f.wanted != 0 {
		ours[f.at] = "the router"
	}
	return ours
}

// onLoopback says whether localhost leads to what listens at a host.
func onLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}

// standPorts are the ports of a container: those that it names, and for the first
// one of the service those to which Services lead that no container names.
func (l *loop) standPorts(svc *service, pod *corev1.Pod, container string, first bool) []int {
	var ports []int
	others := map[int]bool{}
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Protocol != "" && p.Protocol != corev1.ProtocolTCP {
				if c.Name == container {
					l.s.front.tell(Notice{Level: Warn, Service: svc.Name, Code: "stand-in-port",
						Text: fmt.Sprintf("port %d/%s of the pods of %s is not carried here: only TCP is", p.ContainerPort, p.Protocol, svc.Name)})
				}
				continue
			}
			if c.Name != container {
				others[int(p.ContainerPort)] = true
			} else {
				ports = append(ports, int(p.ContainerPort))
			}
		}
	}
	add := func(port int) {
		if first && !others[port] && !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	for _, s := range l.s.parts.Live.Services() {
		if len(s.Spec.Selector) == 0 || !labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(pod.Labels)) {
			continue
		}
		for _, p := range s.Spec.Ports {
			if p.Protocol == "" || p.Protocol == corev1.ProtocolTCP {
				add(targetPort(p, pod))
			}
		}
	}
	if to := svc.StandIn.To; to != 0 {
		add(to)
	}
	return ports
}

// giveEnvironment makes the environment of a program that stands in, and starts
// it: for the first time, or because it is another one.
func (l *loop) giveEnvironment(svc *service) {
	u := svc.here
	vars, read, _ := u.stand.environment()
	if read == 0 {
		return
	}
	services := l.namedServices()
	of := fmt.Sprint(read, services)
	if of == u.seen {
		return
	}
	u.seen = of
	made := standEnvironment(vars, u.Env, services, svc.Needs, u.stand.reach)
	for _, left := range made.left {
		l.s.front.tell(Notice{Level: Warn, Service: svc.Name, Code: "stand-in-host",
			Text: fmt.Sprintf("%s of %s names %s, whose port is another one on this machine, and no variable beside it holds the port: it is left as it is; set the two under `local: {env: …}`",
				left.variable, svc.Name, left.service)})
	}
	if hide := l.s.parts.Hide; hide != nil && l.s.parts.Conceal != nil {
		for was, is := range made.rewritten {
			if hide(was) != was {
				l.s.parts.Conceal(is) // the value of a Secret, with another place in it
			}
		}
	}
	env := made.vars
	was := u.env.Swap(&env)
	switch {
	case was == nil:
		svc.track.end(Nothing)
		l.runLocal(svc, Change{Saved: time.Now()})
	case !slices.Equal(*was, env):
		l.s.tell(Notice{Level: Info, Service: svc.Name, Code: "stand-in-environment", Text: "the environment of its pods changed"})
		l.runLocal(svc, Change{Saved: time.Now()})
	}
}

// namedServices are those of the namespace.
func (l *loop) namedServices() []named {
	var all []named
	for _, s := range l.s.parts.Live.Services() {
		n := named{name: s.Name, namespace: s.Namespace}
		if s.Spec.ClusterIP != corev1.ClusterIPNone {
			n.ip = s.Spec.ClusterIP
		}
		for _, p := range s.Spec.Ports {
			if p.Protocol == "" || p.Protocol == corev1.ProtocolTCP {
				n.ports = append(n.ports, int(p.Port))
			}
		}
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b named) int { return strings.Compare(a.name, b.name) })
	return all
}

// seeStandIn tells what became of the program.
func (l *loop) seeStandIn(svc *service) {
	u := svc.here
	st := u.work.Status()
	is := toldLocal{st.Run, st.Phase}
	if is == u.told || !u.asked {
		return
	}
	u.told = is
	switch st.Phase {
	case local.Ready:
		first := !u.up
		u.up = true
		if c := svc.track.now; c != nil {
			now := time.Now()
			c.Made, c.Serving = now, now
			svc.track.end(Served)
		}
		text := "runs on this machine"
		if first {
			text += ": what connects to its pods comes here, until the session ends or `local` is taken out of kdev.yaml"
		}
		l.s.tell(Notice{Level: Done, Service: svc.Name, Code: "stand-in-ready", Text: text, Took: Millis(st.Took)})
	case local.Failed:
		svc.track.end(Failed)
		p := u.failure(st)
		l.s.tell(Notice{Level: Fail, Service: svc.Name, Code: p.Code, Text: "ended", Took: Millis(st.Ended.Sub(st.Started)), Problem: p})
	}
}

// hereProblem is why the program that stands in does not serve; nil where there is
// none, or where that is not known.
func (svc *service) hereProblem() *problem.Problem {
	u := svc.here
	if u == nil || svc.off {
		return nil
	}
	if st := u.work.Status(); u.asked && st.Phase == local.Failed {
		return u.failure(st)
	}
	if _, _, err := u.stand.environment(); err != nil {
		return &problem.Problem{Code: "stand-in", Where: u.Where, Summary: "the environment of its container cannot be read", Err: err,
			Hint: "it is tried again; `kdev status` says how its pods are"}
	}
	if _, err := u.stand.carrying(); err != nil {
		return &problem.Problem{Code: "stand-in", Where: u.Where, Summary: "connections to its pods cannot be carried here", Err: err,
			Hint: "it is tried again; without `local` the service runs in the cluster"}
	}
	return nil
}

// hereWaits is what the program that stands in waits for.
func (svc *service) hereWaits() *Waiting {
	u := svc.here
	switch st := u.work.Status(); {
	case !u.asked:
		return &Waiting{Reason: ForAgent, Text: "a container to tell its environment"}
	case st.Phase != local.Ready:
		return &Waiting{Reason: ForProcess, Text: u.awaits()}
	}
	if all, _ := u.stand.carrying(); !all {
		return &Waiting{Reason: ForAgent, Text: "the agents in its containers to carry connections here"}
	}
	return nil
}
