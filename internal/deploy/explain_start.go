package deploy

import (
	"regexp"
	"strings"
)

// config explains a container whose configuration cannot be put together.
func (e *evidence) config(message string) *finding {
	known := []string{"Failed", "CreateContainerConfigError"}
	said, _, _ := strings.Cut(oneLine(message, 200), " (pod: ")
	if f := missingObject(message); f != nil {
		f.known = known
		return f
	}
	switch {
	case strings.Contains(message, "runAsNonRoot") || strings.Contains(message, "run as non-root"):
		return &finding{code: "runs-as-root", summary: "its image runs as root, and runAsNonRoot forbids that", chain: []string{said}, known: known,
			hint: "add a USER with a number to the Dockerfile, or runAsUser to securityContext"}
	case isTransient(message):
		return nil
	}
	return &finding{code: "container-config", summary: "it cannot be created: " + said, known: known, hint: "correct what the message names in the manifest"}
}

var (
	// configmap "web" not found; secret "web" not found
	notFound = regexp.MustCompile(`(?i)(configmap|secret)s? "([^"]+)" not found`)
	// couldn't find key PORT in ConfigMap shop/web; references non-existent secret key: tls.crt
	noKey    = regexp.MustCompile(`(?i)couldn't find key (\S+) in (ConfigMap|Secret) [^/\s]+/(\S+)`)
	noKeyRef = regexp.MustCompile(`(?i)references non-existent (config|secret) key: (\S+)`)
)

// missingObject recognises a reference to a ConfigMap, a Secret or a key of one
// that is not there, nil when the message is of something else.
func missingObject(message string) *finding {
	if m := noKey.FindStringSubmatch(message); m != nil {
		return &finding{code: "missing-key", summary: m[2] + " " + m[3] + " has no key " + m[1],
			hint: "add the key, or correct the reference in the manifest"}
	}
	if m := noKeyRef.FindStringSubmatch(message); m != nil {
		kind := map[string]string{"config": "ConfigMap", "secret": "Secret"}[strings.ToLower(m[1])]
		return &finding{code: "missing-key", summary: "a volume names key " + m[2] + ", which its " + kind + " does not have", chain: []string{oneLine(message, 200)},
			hint: "add the key, or correct `items:` of the volume"}
	}
	if m := notFound.FindStringSubmatch(message); m != nil {
		if strings.EqualFold(m[1], "secret") {
			return &finding{code: "missing-secret", summary: "there is no Secret " + m[2], hint: "add it to the manifests, or correct the reference"}
		}
		return &finding{code: "missing-configmap", summary: "there is no ConfigMap " + m[2], hint: "add it to the manifests, or correct the reference"}
	}
	return nil
}

// isTransient recognises what the kubelet says while its caches fill.
func isTransient(message string) bool {
	for _, s := range []string{"failed to sync configmap cache", "failed to sync secret cache", "not registered", "timed out waiting for the condition"} {
		if strings.Contains(message, s) {
			return true
		}
	}
	return false
}

// start explains a container that was created and could not be started.
func (e *evidence) start(r containerRun, message string) *finding {
	f := startFinding(r, message)
	f.known = []string{"Failed", "BackOff"}
	return f
}

func startFinding(r containerRun, message string) *finding {
	lower := strings.ToLower(message)
	has := func(s string) bool { return strings.Contains(lower, s) }
	chain := []string{"the runtime says: " + runtimeError(message)}
	program := programOf(r, message)
	switch {
	case has("executable file not found"), has("stat ") && has("no such file or directory") && has("exec: "):
		return &finding{code: "command-not-found", summary: "its command " + program + " is not in the image", chain: chain, hint: "correct `command:` in the manifest, or ENTRYPOINT in the Dockerfile"}
	case has("no such file or directory") && has("exec "):
		return &finding{code: "command-not-found", summary: "its command " + program + ", or the interpreter in its first line, is not in the image", chain: chain,
			hint: "a script that was saved with Windows line ends, or a binary that wants another libc, shows like this too"}
	case has("permission denied") && has("exec"), has("is a directory"):
		return &finding{code: "command-not-executable", summary: "its command " + program + " cannot be executed", chain: chain, hint: "`RUN chmod +x` it in the Dockerfile"}
	case has("exec format error"):
		return execFormat(chain)
	case has("no command specified"):
		return &finding{code: "no-command", summary: "neither the image nor the manifest says what to run", hint: "add CMD to the Dockerfile, or `command:` to the manifest"}
	case has("chdir to cwd"), has("working directory"), r.spec.WorkingDir != "" && has("mkdir "+strings.ToLower(r.spec.WorkingDir)):
		return &finding{code: "working-dir", summary: "its working directory is not in the image, or not its user's to enter", chain: chain, hint: "correct `workingDir:` in the manifest, or WORKDIR in the Dockerfile"}
	case has("are you trying to mount a directory onto a file"), has("not a directory") && has("mount"):
		return &finding{code: "mount-over-file", summary: "a volume is mounted where the image has a file", chain: chain, hint: "use subPath to mount one file, or correct mountPath"}
	case has("read-only file system") && has("mount"):
		return &finding{code: "mount-point", summary: "the folder for a volume cannot be made: the root file system is read-only", chain: chain, hint: "make the folder in the Dockerfile"}
	case has("unable to find user"), has("no matching entries in passwd"), has("no users found"):
		return &finding{code: "unknown-user", summary: "its user is not in the image", chain: chain, hint: "use a number for USER in the Dockerfile, or add the user"}
	}
	return &finding{code: "container-start", summary: "it cannot be started", chain: chain, hint: "the runtime's message names what to correct"}
}

func execFormat(chain []string) *finding {
	return &finding{code: "exec-format", summary: "its command is for another architecture, or a script without #! in its first line", chain: chain,
		hint: "build it for the node's architecture, or begin the script with #!/bin/sh"}
}

// exec: "servr": executable file not found
var inExec = regexp.MustCompile(`exec:? \\?"([^"\\]+)\\?"`)

// programOf names what was to be executed.
func programOf(r containerRun, message string) string {
	if m := inExec.FindStringSubmatch(message); m != nil {
		return m[1]
	}
	if len(r.spec.Command) > 0 {
		return r.spec.Command[0]
	}
	return "(ENTRYPOINT of the image)"
}

// runtimeError keeps the end of the runtime's long chain of causes.
func runtimeError(message string) string {
	message = strings.TrimSuffix(oneLine(message, 2000), ": unknown")
	for _, mark := range []string{"unable to start container process: ", "OCI runtime create failed: ", "runc create failed: "} {
		if i := strings.LastIndex(message, mark); i >= 0 {
			message = message[i+len(mark):]
			break
		}
	}
	return oneLine(message, 200)
}
