package assemble

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"slices"
	"strings"
)

// Listings are read at each build of a process that has just begun, some ten
// thousand entries for an ordinary base; as JSON that took half of the build.

const listingVersion = "kdev listing 1\n"

var errListing = errors.New("damaged listing")

func encodeListing(l *listing) []byte {
	var e encoder
	e.buf = append(e.buf, listingVersion...)
	e.text(l.Layer)
	e.number(uint64(len(l.Entries)))
	for i := range l.Entries {
		n := &l.Entries[i]
		e.text(n.Path)
		e.number(uint64(n.Mode))
		e.number(uint64(n.UID))
		e.number(uint64(n.GID))
		e.number(uint64(n.Size))
		e.text(n.Link)
		e.text(n.Hard)
		e.texts(n.Xattrs)
	}
	small := map[string]string{}
	for k, v := range l.Small {
		small[k] = string(v)
	}
	e.texts(small)
	return e.buf
}

func decodeListing(raw []byte) (*listing, error) {
	rest, ok := strings.CutPrefix(string(raw), listingVersion)
	if !ok {
		return nil, errListing
	}
	d := decoder{rest: rest}
	l := &listing{Layer: d.text(), Small: map[string][]byte{}}
	n := d.number()
	// An entry has eight bytes at least: a damaged count asks for no memory.
	if n > uint64(len(d.rest))/8 {
		return nil, errListing
	}
	l.Entries = make([]entry, n)
	for i := range l.Entries {
		e := &l.Entries[i]
		e.Path = d.text()
		e.Mode = fs.FileMode(d.number())
		e.UID, e.GID = int(d.number()), int(d.number())
		e.Size = int64(d.number())
		e.Link, e.Hard = d.text(), d.text()
		e.Xattrs = d.texts()
	}
	for k, v := range d.texts() {
		l.Small[k] = []byte(v)
	}
	if d.failed || d.rest != "" {
		return nil, errListing
	}
	return l, nil
}

type encoder struct{ buf []byte }

func (e *encoder) number(n uint64) { e.buf = binary.AppendUvarint(e.buf, n) }

func (e *encoder) text(s string) {
	e.number(uint64(len(s)))
	e.buf = append(e.buf, s...)
}

func (e *encoder) texts(m map[string]string) {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	e.number(uint64(len(keys)))
	for _, k := range keys {
		e.text(k)
		e.text(m[k])
	}
}

// A decoder cuts strings out of one string: they share its memory.
type decoder struct {
	rest   string
	failed bool
}

func (d *decoder) number() uint64 {
	// Uvarint wants bytes; ten are as many as it may read.
	n, size := binary.Uvarint([]byte(d.rest[:min(len(d.rest), binary.MaxVarintLen64)]))
	if size <= 0 {
		d.failed, d.rest = true, ""
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) text() string {
	n := d.number()
	if n > uint64(len(d.rest)) {
		d.failed, d.rest = true, ""
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) texts() map[string]string {
	n := d.number()
	if n == 0 || n > uint64(len(d.rest)) {
		d.failed = d.failed || n != 0
		return nil
	}
	m := make(map[string]string, n)
	for range n {
		k := d.text()
		m[k] = d.text()
	}
	return m
}
