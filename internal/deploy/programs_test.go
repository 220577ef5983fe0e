package deploy

import (
	"strings"
	"testing"
)

func TestPrograms(t *testing.T) {
	has := map[string]bool{"/bin/sh": true, "/usr/bin/python": true, "/app/run": true, "/opt/tool": true}
	view := func(image string) (*ImageView, bool) {
		v := &ImageView{Entrypoint: []string{"/agent", "--", "python"}, Cmd: []string{"-m", "app"}, Env: []string{"PATH=/usr/bin:/bin"}, WorkingDir: "/app",
			Has: func(p string) (bool, bool) { return has[p], !strings.HasPrefix(p, "/linked/") }}
		switch image {
		case "ours":
		case "empty":
			v.Entrypoint, v.Cmd = nil, nil
		case "typo":
			v.Entrypoint = []string{"/agent", "--", "pyhton"}
		default:
			return nil, false
		}
		return v, true
	}
	for container, lacks := range map[string]string{
		"image: ours":                                                             "",
		"image: ours, command: [sh, -c, slep]":                                    "", // what a shell runs is not looked into
		"image: ours, command: [slep, '9']":                                       "slep",
		"image: ours, command: [/agent, --, slep, '9']":                           "slep",
		"image: ours, command: [/agent, --, sh]":                                  "",
		"image: ours, args: [-m, other]":                                          "",
		"image: empty, args: [slep]":                                              "slep",
		"image: empty":                                                            "", // that there is none, the cluster says
		"image: typo":                                                             "pyhton",
		"image: unknown, command: [slep]":                                         "",
		"image: ours, command: [./run]":                                           "",
		"image: ours, command: [./ran]":                                           "./ran",
		"image: ours, workingDir: /opt, command: [./tool]":                        "",
		"image: ours, command: [/app/ran]":                                        "/app/ran",
		"image: ours, command: [/linked/ran]":                                     "",
		"image: ours, command: [$(TOOL)]":                                         "",
		"image: ours, command: [tool]":                                            "tool",
		"image: ours, command: [tool], env: [{name: PATH, value: /opt}]":          "",
		"image: ours, command: [slep], env: [{name: PATH, value: '$(HERE)/bin'}]": "",
		"image: ours, command: [slep], env: [{name: PATH, valueFrom: {configMapKeyRef: {name: a, key: b}}}]": "",
		"image: ours, command: [slep], envFrom: [{configMapRef: {name: a}}]":                                 "",
		"image: ours, command: [/app/ran], envFrom: [{configMapRef: {name: a}}]":                             "/app/ran",
		"image: ours, command: [/app/ran], volumeMounts: [{name: a, mountPath: /app}]":                       "",
		"image: ours, command: [/app/ran], volumeMounts: [{name: a, mountPath: /app/ran}]":                   "",
		"image: ours, command: [/app/ran], volumeMounts: [{name: a, mountPath: /app/r}]":                     "/app/ran",
		"image: ours, command: [slep], volumeMounts: [{name: a, mountPath: /bin/}]":                          "",
	} {
		objects := parse(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n    spec:\n      containers:\n      - {name: web, "+container+"}\n")
		d := New(nil, Options{})
		doubts := d.Programs(objects, []string{"/agent", "--"}, view)
		switch {
		case lacks == "" && len(doubts) > 0:
			t.Errorf("%s: a false alarm: %v", container, doubts)
		case lacks != "" && (len(doubts) != 1 || !strings.Contains(doubts[0].Summary, "its command "+lacks+" is not")):
			t.Errorf("%s: %v", container, doubts)
		case lacks != "" && (doubts[0].Code != "command-not-found" || doubts[0].Hint == ""):
			t.Errorf("%s: %+v", container, doubts[0])
		}
	}
}
