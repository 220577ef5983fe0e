package deploy

import (
	"slices"
	"strings"
)

// Declared lists every field in which what kdev applies differs from the plain
// render: image references, command prefixes of dev images, values of Secrets that
// kdev makes, a namespace that `-n` or `namespace:` put in another's place, and the set's label.
// Both are the same render, the second one injected; nothing is sent.
func (d *Deployer) Declared(plain, injected []*Object) []ObjectDiff {
	before := map[objectKey]*Object{}
	for _, o := range plain {
		before[keyOf(o)] = o
	}
	out := make([]ObjectDiff, 0, len(injected))
	for _, o := range injected {
		fields := []FieldDiff{{Path: "metadata.labels[" + partOfLabel + "]", To: d.id}}
		if was := before[keyOf(o)]; was != nil {
			fields = append(fields, fieldDiffs(plainForm(was.Unstructured), plainForm(o.Unstructured), isSecret(o.Unstructured))...)
		}
		fields = append(fields, o.moves...)
		for _, key := range o.filled() {
			fields = append(fields, FieldDiff{Path: "data[" + key + "]", To: hiddenValue})
		}
		slices.SortStableFunc(fields, func(a, b FieldDiff) int { return strings.Compare(a.Path, b.Path) })
		out = append(out, objectDiff(o, Update, fields))
	}
	sortDiffs(out)
	return out
}
