package logs

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/internal/testkube"
	"github.com/kdev-io/kdev/logs/format"
	"github.com/kdev-io/kdev/logs/store"
)

// Replicas of one workload never share a colour, up to eight, in any palette, whatever
// came and went before, and beside whatever else runs.
func TestReplicasHaveTheirOwnColors(t *testing.T) {
	for _, p := range format.Palettes() {
		t.Run(p.Name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			c := newColors(len(p.Pods))
			type pod struct{ workload, name string }
			var live []pod
			count := map[string]int{}
			for step := range 5000 {
				workload := fmt.Sprintf("w%d", r.IntN(12))
				if len(live) > 0 && (r.IntN(2) == 0 || count[workload] == 8) {
					i := r.IntN(len(live))
					c.give(live[i].workload, live[i].name)
					count[live[i].workload]--
					live = append(live[:i], live[i+1:]...)
					continue
				}
				if count[workload] == 8 {
					continue
				}
				live = append(live, pod{workload, fmt.Sprintf("%s-%d", workload, step)})
				count[workload]++
				c.take(workload, live[len(live)-1].name)
				seen := map[string]string{}
				for _, l := range live {
					i := c.take(l.workload, l.name)
					c.give(l.workload, l.name)
					color, _ := p.Of(&store.Source{Color: i})
					key := l.workload + color.Sprint("x")
					if other, ok := seen[key]; ok {
						t.Fatalf("%s and %s have the same colour", other, l.name)
					}
					seen[key] = l.name
				}
			}
		})
	}
}

// Reading once, with fewer streams at a time than there are replicas: one that was read
// to its end is on the screen beside those that come after it.
func TestReplicasReadInTurnHaveTheirOwnColors(t *testing.T) {
	for _, once := range []bool{true, false} {
		w := newWorld(t)
		for i := range 8 {
			name := fmt.Sprintf("web-%d", i)
			pod := testkube.Pod("default", name, "web")
			pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "web", UID: "web", Controller: new(true)}}
			pod.Status.Phase, pod.Status.ContainerStatuses[0] = corev1.PodSucceeded, testkube.Terminated(name, "web", 0, 0)
			w.put(pod)
			w.print(name, "web", "line")
			w.server.Log("default", name, "web").End()
		}
		w.watch(t.Context())
		stop := w.run(Options{MaxStreams: 1, Format: format.Options{Color: true}}, Selection{Once: once})
		text := w.out.await(t, `(?s)(line\n.*){8}`)
		if err := stop(); err != nil {
			t.Error(err)
		}
		seen := map[string]bool{}
		for line := range strings.Lines(text) {
			color, _, _ := strings.Cut(line, "web-")
			seen[color] = true
		}
		if len(seen) != 8 {
			t.Errorf("once %v: %d colours:\n%s", once, len(seen), text)
		}
	}
}

// No palette has red, which reads as an error, and each has eight colours that differ.
func TestPalettes(t *testing.T) {
	for _, p := range format.Palettes() {
		different := map[string]bool{}
		for _, c := range p.Pods {
			text := c.Sprint("x")
			different[text] = true
			for _, red := range []string{"31", "91", "41", "101"} {
				if strings.HasPrefix(text, "\x1b["+red+"m") || strings.HasPrefix(text, "\x1b["+red+";") {
					t.Errorf("%s has red: %q", p.Name, text)
				}
			}
		}
		if len(different) < 8 || len(p.Pods) != len(p.Containers) {
			t.Errorf("%s has %d colours for pods, %d different ones, and %d for containers", p.Name, len(p.Pods), len(different), len(p.Containers))
		}
	}
}

// The colour-blind palettes are told apart by those they are for: as they see them
// (matrices of Viénot, Brettel and Mollon 1999 for protanopia and deuteranopia), no two of
// the eight are closer than some steps of brightness or hue.
func TestColorBlindPalettes(t *testing.T) {
	matrices := map[string][9]float64{
		"protanopia":   {0.11238, 0.88762, 0, 0.11238, 0.88762, 0, 0.00401, -0.00401, 1},
		"deuteranopia": {0.29275, 0.70725, 0, 0.29275, 0.70725, 0, -0.02234, 0.02234, 1},
	}
	for _, name := range []string{"okabe-ito", "tol-light"} {
		p, err := format.PaletteByName(name)
		if err != nil {
			t.Fatal(err)
		}
		for who, m := range matrices {
			var seen [][3]float64
			for _, c := range p.Pods {
				var r, g, b float64
				if _, err := fmt.Sscanf(c.Sprint(""), "\x1b[38;2;%f;%f;%fm", &r, &g, &b); err != nil {
					t.Fatalf("%q: %v", c.Sprint(""), err)
				}
				now := [3]float64{m[0]*r + m[1]*g + m[2]*b, m[3]*r + m[4]*g + m[5]*b, m[6]*r + m[7]*g + m[8]*b}
				for i, other := range seen {
					d := 0.0
					for k := range now {
						d = max(d, now[k]-other[k], other[k]-now[k])
					}
					if d < 10 {
						t.Errorf("%s, %s: colours %d and %d are %.0f apart", name, who, i, len(seen), d)
					}
				}
				seen = append(seen, now)
			}
		}
	}
}
