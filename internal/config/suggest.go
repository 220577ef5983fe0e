package config

import (
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

func (d *decoder) unknown(key *yaml.Node, path string, fields []field) {
	var names []string
	for _, f := range fields {
		if !f.later {
			names = append(names, f.key)
		}
	}
	hint := didYouMean(key.Value, names, "")
	if hint == "" {
		if home := homeOf(key.Value, path); home != "" {
			hint = key.Value + " belongs under " + home
		} else {
			hint = "the keys here are " + strings.Join(names, ", ")
		}
	}
	d.add(usage("config-unknown-key", d.pos(key), hint, "unknown key %s", join(path, key.Value)))
}

// homeOf finds the place of a key that stands in the wrong one, so that
// ports at the top of the file is led to services.NAME.
func homeOf(key, not string) string {
	type place struct {
		path string
		typ  reflect.Type
	}
	queue := []place{{"", reflect.TypeFor[file]()}}
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		for _, f := range fieldsOf(p.typ) {
			if f.key == key && !f.later && p.path != not {
				return orTopOfFile(p.path)
			}
			switch t := f.typ; {
			case f.later:
			case t.Kind() == reflect.Struct && t != reflect.TypeFor[syncFile]():
				queue = append(queue, place{join(p.path, f.key), t})
			case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Struct:
				queue = append(queue, place{join(p.path, f.key) + ".NAME", t.Elem()})
			case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
				queue = append(queue, place{join(p.path, f.key), t.Elem()})
			}
		}
	}
	return ""
}

func orTopOfFile(path string) string {
	if path == "" {
		return "the top of the file"
	}
	return path
}

// DidYouMean is a hint for a name that is not there.
func DidYouMean(name string, names []string, otherwise string) string {
	return didYouMean(name, names, otherwise)
}

// didYouMean is a hint that names the candidate which s was probably meant to
// be, or otherwise.
func didYouMean(s string, candidates []string, otherwise string) string {
	best, bestDistance := "", 3
	if len(s) < 5 {
		bestDistance = 2 // in a short word two wrong letters are another word
	}
	for _, c := range candidates {
		n := distance(strings.ToLower(s), strings.ToLower(c))
		if n < bestDistance {
			best, bestDistance = c, n
		}
	}
	if best == "" {
		return otherwise
	}
	return "did you mean " + best + "?"
}

// distance is Levenshtein's, with a swap of neighbours counted once.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64 // no key is that long
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
