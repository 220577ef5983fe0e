package patch

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"
	"math/bits"
)

const (
	block  = 64 // of the new file
	unit   = 32 // of the index of the old file
	nearby = 256 << 10

	patience = 32 // blocks in a row that may be found nowhere close by
)

// ErrTooBig says that a patch would be larger than it may be.
var ErrTooBig = bytes.ErrTooLarge

// Make writes a patch that turns old into what it reads from new. It gives up
// with ErrTooBig when the patch passes limit bytes.
func Make(w io.Writer, old []byte, new io.Reader, limit int64) error {
	z, err := flate.NewWriter(&limited{w, limit}, flate.BestSpeed)
	if err != nil {
		return err
	}
	m := &maker{old: old, z: z}
	buf := make([]byte, 256<<10)
	kept := 0
	for {
		n, err := io.ReadFull(new, buf[kept:])
		last := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !last {
			return err
		}
		chunk := buf[:kept+n]
		for len(chunk) >= 2*block || last && len(chunk) > 0 {
			size := min(block, len(chunk))
			if err := m.block(chunk[:size], chunk); err != nil {
				return err
			}
			chunk = chunk[size:]
		}
		if last {
			break
		}
		kept = copy(buf, chunk)
	}
	if err := m.flush(); err != nil {
		return err
	}
	return z.Close()
}

// A maker holds the operation that is growing.
type maker struct {
	old   []byte
	z     *flate.Writer
	new   int64 // position in the new file
	off   int64 // of the old file relative to the new one
	at    int64 // where Apply is in the old file
	kind  int
	size  uint64
	bytes []byte // of a difference or a literal

	index   *table // of the whole old file
	around  *table // of what is nearby
	tried   int64  // where in the old file that was
	scratch [block]byte
	misses  int // blocks in a row that were found nowhere
}

// block deals with the next bytes of the new file; ahead begins with them.
func (m *maker) block(b, ahead []byte) error {
	kind := m.compare(b)
	if kind == opLiteral && m.search(ahead) {
		kind = m.compare(b)
	}
	if kind == opLiteral {
		m.misses++
	} else {
		m.misses = 0
	}
	if err := m.extend(kind, b); err != nil {
		return err
	}
	m.new += int64(len(b))
	return nil
}

// compare says how b relates to the old file under the current offset.
func (m *maker) compare(b []byte) int {
	o := m.oldAt(m.new+m.off, len(b))
	if o == nil {
		return opLiteral
	}
	if bytes.Equal(o, b) {
		return opCopy
	}
	if equalBytes(b, o)*2 >= len(b) {
		return opDiff
	}
	return opLiteral
}

// equalBytes counts the places where a and b agree, eight at a time: of x, a byte
// that is not zero gets its high bit set.
func equalBytes(a, b []byte) int {
	const low = 0x7f7f7f7f7f7f7f7f
	same := 0
	for len(a) >= 8 {
		x := binary.LittleEndian.Uint64(a) ^ binary.LittleEndian.Uint64(b)
		same += 8 - bits.OnesCount64(((x&low)+low|x)&^low)
		a, b = a[8:], b[8:]
	}
	for i := range a {
		if a[i] == b[i] {
			same++
		}
	}
	return same
}

func (m *maker) oldAt(at int64, n int) []byte {
	if at < 0 || at+int64(n) > int64(len(m.old)) {
		return nil
	}
	return m.old[at : at+int64(n)]
}

// search looks for what comes next in the old file: close by first, since what
// was inserted or removed is mostly small, then everywhere.
func (m *maker) search(ahead []byte) bool {
	if len(m.old) < unit || len(ahead) < unit {
		return false
	}
	// Content that is new altogether would be looked up for nothing all the time.
	if m.misses > 256 && m.misses%64 != 0 {
		return false
	}
	here := m.new + m.off
	if m.around == nil || here < m.tried-nearby/2 || here > m.tried+nearby/2 {
		from := max(0, here-nearby)
		to := min(int64(len(m.old)), here+nearby)
		m.around = newTable(m.old, from-from%unit, to)
		m.tried = here
	}
	if m.lookUp(m.around, ahead) {
		return true
	}
	// The whole index costs as much as the rest together, and a few new lines of a
	// program need none.
	if m.index == nil {
		if m.misses < patience {
			return false
		}
		m.index = newTable(m.old, 0, int64(len(m.old)))
	}
	return m.lookUp(m.index, ahead)
}

func (m *maker) lookUp(t *table, ahead []byte) bool {
	for k := 0; k < unit && k+unit <= len(ahead); k++ {
		if at, ok := t.find(ahead[k : k+unit]); ok {
			m.off = at - int64(k) - m.new
			return true
		}
	}
	return false
}

// A table finds units of a part of the old file: open addressing over positions
// alone, since the bytes are at hand to compare.
type table struct {
	old   []byte
	slots []uint32 // unit number + 1, 0 when free
	shift int
}

func newTable(old []byte, from, to int64) *table {
	units := max(0, to-from) / unit
	size := 4
	for int64(1)<<size < 2*units {
		size++
	}
	t := &table{old, make([]uint32, 1<<size), 64 - size}
	for at := from; at+unit <= to; at += unit {
		t.add(at)
	}
	return t
}

// crowded is how many slots are tried. Where more units share a place the later
// ones are left out: the same content is there already, or we are unlucky.
const crowded = 8

func (t *table) add(at int64) {
	h, dull := hash(t.old[at:])
	if dull {
		return // zeros are everywhere and lead nowhere
	}
	i := h >> t.shift
	for range crowded {
		if t.slots[i] == 0 {
			t.slots[i] = uint32(at/unit) + 1
			return
		}
		i = (i + 1) & uint64(len(t.slots)-1)
	}
}

func (t *table) find(b []byte) (at int64, ok bool) {
	h, dull := hash(b)
	if dull {
		return 0, false
	}
	i := h >> t.shift
	for range crowded {
		u := t.slots[i]
		if u == 0 {
			return 0, false
		}
		at := int64(u-1) * unit
		if bytes.Equal(t.old[at:at+unit], b) {
			return at, true
		}
		i = (i + 1) & uint64(len(t.slots)-1)
	}
	return 0, false
}

// hash mixes 32 bytes. dull says that they are all the same.
func hash(b []byte) (h uint64, dull bool) {
	w0 := binary.LittleEndian.Uint64(b)
	w1 := binary.LittleEndian.Uint64(b[8:])
	w2 := binary.LittleEndian.Uint64(b[16:])
	w3 := binary.LittleEndian.Uint64(b[24:])
	dull = w0 == w1 && w1 == w2 && w2 == w3 && w0 == w0<<8|w0>>56
	h = w0 * 0x9e3779b97f4a7c15
	h = (h ^ h>>29 ^ w1) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>32 ^ w2) * 0x94d049bb133111eb
	h = (h ^ h>>29 ^ w3) * 0x9e3779b97f4a7c15
	return h ^ h>>32, dull
}

// extend adds a block to the operation that is growing, or begins another.
func (m *maker) extend(kind int, b []byte) error {
	if kind != m.kind || m.at != m.new+m.off && kind != opLiteral || len(m.bytes) >= 64<<10 {
		if err := m.flush(); err != nil {
			return err
		}
		m.kind = kind
		if want := m.new + m.off; kind != opLiteral && want != m.at {
			if err := m.op(opMove, zigzag(want-m.at)); err != nil {
				return err
			}
			m.at = want
		}
	}
	m.size += uint64(len(b))
	switch kind {
	case opDiff:
		o := m.oldAt(m.at, len(b))
		d := m.scratch[:len(b)]
		for i := range b {
			d[i] = b[i] - o[i]
		}
		m.bytes = append(m.bytes, d...)
	case opLiteral:
		m.bytes = append(m.bytes, b...)
	}
	m.at += int64(len(b)) // a literal moves Apply's place in the old file as well
	return nil
}

func zigzag(n int64) uint64 { return uint64(n<<1) ^ uint64(n>>63) }

func (m *maker) flush() error {
	if m.size == 0 {
		return nil
	}
	if err := m.op(m.kind, m.size); err != nil {
		return err
	}
	_, err := m.z.Write(m.bytes)
	m.size, m.bytes = 0, m.bytes[:0]
	return err
}

func (m *maker) op(kind int, n uint64) error {
	_, err := m.z.Write(binary.AppendUvarint(m.scratch[:0], n<<2|uint64(kind)))
	return err
}

// limited gives up when too much is written.
type limited struct {
	w    io.Writer
	left int64
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= int64(len(p)); l.left < 0 {
		return 0, ErrTooBig
	}
	return l.w.Write(p)
}
