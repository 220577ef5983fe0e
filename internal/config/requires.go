package config

import (
	"cmp"
	"regexp"
	"strings"
)

// requires refuses a kdev that the project does not want. A version of
// "dev", as a build from a work tree has it, satisfies everything.
func (r *resolver) requires() {
	want := r.f.Requires.Kdev
	have := r.options.Version
	if want == "" || have == "" || have == "dev" || satisfies(have, want) {
		return
	}
	r.add(usage("config-requires", r.where("requires.kdev"), "install a kdev of that version", "this project requires kdev %s, and this is %s", want, have))
}

var constraintForm = regexp.MustCompile(`^(>=|>|<=|<|=)? ?v?([0-9.]+)$`)

// satisfies compares as many parts of the version as the constraint names: a
// plain 0.3 is every 0.3.x.
func satisfies(have, want string) bool {
	m := constraintForm.FindStringSubmatch(want)
	if m == nil {
		return false
	}
	have, _, _ = strings.Cut(strings.TrimPrefix(have, "v"), "-")
	wants, haves := strings.Split(m[2], "."), strings.Split(have, ".")
	order := 0
	for i, w := range wants {
		h := "0"
		if i < len(haves) {
			h = haves[i]
		}
		hn, _ := digits(h)
		wn, _ := digits(w)
		if order = cmp.Compare(hn, wn); order != 0 {
			break
		}
	}
	switch m[1] {
	case ">=":
		return order >= 0
	case ">":
		return order > 0
	case "<=":
		return order <= 0
	case "<":
		return order < 0
	}
	return order == 0
}
