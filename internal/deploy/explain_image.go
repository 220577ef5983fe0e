package deploy

import (
	"net"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/internal/registry"
)

// image explains why a container has no image.
func (e *evidence) image(r containerRun, w *corev1.ContainerStateWaiting) *finding {
	if w.Reason == "ErrImageNeverPull" {
		return &finding{code: "image-never-pull", summary: "image " + r.spec.Image + " is not on the node, and imagePullPolicy: Never forbids to pull it",
			hint: "take imagePullPolicy out of the manifest", known: []string{"ErrImageNeverPull", "Failed"}}
	}
	said := e.pullError(w.Message)
	f := pullFinding(r.spec.Image, said)
	f.known = []string{"Failed", "BackOff", "Pulling", "InspectFailed"}
	if f.code != "image-pull" && f.code != "registry-unreachable" {
		return f
	}
	// The network's errors often mend themselves; the second in a row does not.
	if w.Reason == "ErrImagePull" && e.failedPulls() < 2 {
		return nil
	}
	return f
}

// pullError finds the cause: the back-off's own message repeats it only sometimes.
func (e *evidence) pullError(message string) string {
	if strings.Contains(message, "failed to") || strings.Contains(message, "rpc error") {
		return message
	}
	if ev := lastEvent(e.events, "Failed", "Failed to pull image"); ev != nil {
		return ev.Message
	}
	return message
}

func (e *evidence) failedPulls() int {
	n := 0
	for _, ev := range e.events {
		if ev.Reason == "Failed" && strings.Contains(ev.Message, "Failed to pull image") {
			n += occurrences(ev)
		}
	}
	return n
}

// pullFinding tells the causes of a failed pull apart by the texts of containerd,
// CRI-O and the registries.
func pullFinding(image, said string) *finding {
	lower := strings.ToLower(said)
	has := func(texts ...string) bool {
		for _, t := range texts {
			if strings.Contains(lower, t) {
				return true
			}
		}
		return false
	}
	chain := []string{"the registry says: " + innermost(said)}
	switch {
	case has("toomanyrequests", "too many requests", "rate limit"):
		return &finding{code: "image-rate-limit", summary: "the registry pulls no more for this machine for a while", chain: chain,
			hint: "log in (`docker login`) and pull with a pull secret, or wait: Docker Hub counts by the hour"}
	case has("no space left on device"):
		return &finding{code: "disk-full", summary: "the node's disk is full", chain: chain, hint: "free space on the machine: `docker system df` shows what takes it"}
	case has("no match for platform", "does not match the specified platform"):
		return &finding{code: "image-platform", summary: "image " + image + " is not made for this node's architecture", chain: chain, hint: "choose an image for it, or build it here"}
	case has("insufficient_scope", "may require authorization", "may require 'docker login'"):
		return &finding{code: "image-unauthorized", summary: "there is no image " + image + ", or its registry wants credentials", chain: chain,
			hint: "check the name; for a private one: " + login(image)}
	case has("unauthorized", "authentication required", "access denied", "403 forbidden", "401 unauthorized"):
		return &finding{code: "image-unauthorized", summary: "the registry does not let this cluster pull " + image, chain: chain, hint: login(image)}
	case has("no such host", "connection refused", "i/o timeout", "no route to host", "network is unreachable", "tls handshake timeout", "x509:", "server gave http response", "context deadline exceeded", "eof", "temporary failure in name resolution", "connection reset"):
		f := &finding{code: "registry-unreachable", summary: "the node does not reach the registry of " + image, chain: chain, hint: "check the network and the proxy of the container engine; the node tries again by itself"}
		switch {
		case isLocal(image):
			f.summary = "the node does not reach kdev's registry, which holds " + image
			f.hint = "`docker ps` should show the kdev-registry container; kdev up starts it again"
		case isOurs(image):
			f.hint = "kdev sent it where `registry:` in kdev.yaml says: name one there that the cluster's nodes reach too"
		}
		return f
	case has("not found", "manifest unknown", "404"):
		f := &finding{code: "image-not-found", summary: "there is no image " + image, chain: chain, hint: "check its name and tag in the manifest"}
		if isOurs(image) {
			f.hint = "kdev made it, and `kdev up` makes it pullable again; where `registry:` in kdev.yaml names the registry, that must be one that the cluster's nodes reach"
		}
		return f
	}
	return &finding{code: "image-pull", summary: "image " + image + " cannot be pulled", chain: chain, hint: "the registry's message says why; the node tries again by itself"}
}

// login is what lets a cluster pull a private image.
func login(image string) string {
	command := "docker login"
	host, _, ok := strings.Cut(image, "/")
	if ok && (strings.ContainsAny(host, ".:") || host == "localhost") && host != "docker.io" {
		command += " " + host
	}
	return "`" + command + "` with an account that may, then `kdev up` gives the pods that login (Secret " + PullSecretName + "); elsewhere add a pull secret (imagePullSecrets)"
}

// isOurs says whether kdev named the image: its tag is the head of its digest.
func isOurs(image string) bool {
	name, digest, ok := strings.Cut(image, "@")
	return ok && strings.HasPrefix(digest, "sha256:") && strings.HasSuffix(name, ":"+registry.Short(digest))
}

func isLocal(image string) bool {
	host, _, ok := strings.Cut(image, "/")
	if !ok {
		return false
	}
	name, _, err := net.SplitHostPort(host)
	return err == nil && (name == "localhost" || strings.HasPrefix(name, "127."))
}

// innermost keeps the end of a chain of wrapped errors, which is the cause, with
// the part before it that names what was asked.
func innermost(message string) string {
	message = oneLine(message, 2000)
	parts := strings.Split(message, ": ")
	if len(parts) > 3 {
		parts = parts[len(parts)-3:]
	}
	return oneLine(strings.Join(parts, ": "), 200)
}
