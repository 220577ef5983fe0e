package main

import (
	"fmt"
	"strings"
)

// A service is a folder with a Dockerfile and a Deployment.
type service struct {
	name     string
	base     string // image
	command  string // as CMD has it
	replicas int
	memory   string // limit; empty: none
	host     bool   // on the node's network
	onSync   string // of kdev.yaml
	golang   bool   // a Go program instead of a Dockerfile
}

// idle is a service that only holds files.
func idle(name string, replicas int) service {
	return service{name: name, base: "debian:bookworm-slim", command: `["sleep", "1000000"]`, replicas: replicas}
}

// declare writes what kdev needs to bring the services up.
func (p *project) declare(services ...service) error {
	var config strings.Builder
	fmt.Fprintf(&config, "name: %s\nmanifests: {yaml: [k8s/*.yaml]}\nservices:\n", p.name)
	for _, s := range services {
		fmt.Fprintf(&config, "  %s: {image: bench/%s, build: {context: %s", s.name, s.name, s.name)
		if s.golang {
			config.WriteString(", go: {base: scratch}")
		}
		config.WriteString("}")
		if s.onSync != "" {
			fmt.Fprintf(&config, ", onSync: %s", s.onSync)
		}
		config.WriteString("}\n")
		dockerfile := fmt.Sprintf("FROM %s\nENV %s\nWORKDIR /app\nCOPY . .\nCMD %s\n", s.base, p.mark(s.name), s.command)
		limits := ""
		if s.memory != "" {
			limits = ", limits: {memory: " + s.memory + "}"
		}
		manifest := fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      terminationGracePeriodSeconds: 0
      hostNetwork: %[3]v
      containers:
        - name: %[1]s
          image: bench/%[1]s
          # Without a request the kernel gives it next to nothing where others compute.
          resources: {requests: {cpu: 300m}%[4]s}
`, s.name, s.replicas, s.host, limits)
		files := map[string]string{"k8s/" + s.name + ".yaml": manifest}
		if !s.golang {
			files[s.name+"/Dockerfile"], files[s.name+"/.dockerignore"] = dockerfile, "Dockerfile\n.dockerignore\n"
		}
		if err := p.files(files); err != nil {
			return err
		}
	}
	return p.file("kdev.yaml", config.String())
}
