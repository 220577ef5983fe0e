package filter

import (
	"encoding/binary"
	"maps"
	"regexp/syntax"
	"slices"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// An automaton says whether a line holds a match of an expression. It is the
// deterministic one of the expression's program, made state by state as lines need it
// (Cox, Regular Expression Matching Can Be Simple And Fast, 2007): a byte of text costs a
// look into a table, where the engine of package regexp follows every thread. It finds no
// ends of matches, and asks that engine where it would get too large.
//
// Any number of goroutines may use one.
type automaton struct {
	prog  *syntax.Prog
	start *state
	large atomic.Bool // it has met its bound

	mu     sync.Mutex // of what follows, and of every table
	states map[string]*state
	size   int
}

// maxAutomaton bounds an automaton, in words of a state's set and its table: 4 MiB.
const maxAutomaton = 512 << 10

// A state is a set of instructions that may be next.
type state struct {
	set     []uint32 // of runes, and of the end of the text
	matched bool     // there was a match
	atEnd   bool     // there is one if the text ends here
	next    [utf8.RuneSelf]atomic.Pointer[state]
	wide    atomic.Pointer[map[rune]*state] // for all other runes; never written, only replaced
}

// maxWide bounds the other runes that a state remembers.
const maxWide = 256

// newAutomaton returns nil for an expression whose boundaries it does not know: of
// lines and of words.
func newAutomaton(tree *syntax.Regexp) *automaton {
	prog, err := syntax.Compile(tree)
	if err != nil {
		return nil
	}
	for i := range prog.Inst {
		if in := &prog.Inst[i]; in.Op == syntax.InstEmptyWidth && syntax.EmptyOp(in.Arg)&^(syntax.EmptyBeginText|syntax.EmptyEndText) != 0 {
			return nil
		}
	}
	a := &automaton{prog: prog, states: map[string]*state{}}
	var c closure
	c.add(prog, uint32(prog.Start), syntax.EmptyBeginText)
	a.start = a.make(c, syntax.EmptyBeginText|syntax.EmptyEndText)
	return a
}

// match says whether the line holds a match; known is false where the automaton cannot say.
func (a *automaton) match(line []byte) (match, known bool) {
	s := a.start
	for i := 0; i < len(line); {
		if s.matched {
			return true, true
		}
		var next *state
		if b := line[i]; b < utf8.RuneSelf {
			i++
			if next = s.next[b].Load(); next == nil {
				next = a.step(s, rune(b))
			}
		} else {
			r, n := utf8.DecodeRune(line[i:])
			i += n
			if known := s.wide.Load(); known != nil {
				next = (*known)[r]
			}
			if next == nil {
				next = a.step(s, r)
			}
		}
		if next == nil {
			return false, false
		}
		s = next
	}
	return s.matched || s.atEnd, true
}

// step is the state behind a rune, nil when the automaton would get too large.
func (a *automaton) step(s *state, r rune) *state {
	if a.large.Load() {
		return nil
	}
	var c closure
	for _, pc := range s.set {
		if in := &a.prog.Inst[pc]; in.Op != syntax.InstEmptyWidth && in.MatchRune(r) {
			c.add(a.prog, in.Out, 0)
		}
	}
	c.add(a.prog, uint32(a.prog.Start), 0) // a match may begin anywhere
	next := a.make(c, syntax.EmptyEndText)
	if next == nil {
		return nil
	}
	if r < utf8.RuneSelf {
		s.next[r].Store(next)
		return next
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	known := map[rune]*state{}
	if old := s.wide.Load(); old != nil {
		if len(*old) >= maxWide {
			return next
		}
		known = maps.Clone(*old)
	}
	known[r] = next
	s.wide.Store(&known)
	return next
}

// make returns the state of a set, the same one for the same set. The edges are those
// that hold if the text ends there.
func (a *automaton) make(c closure, edges syntax.EmptyOp) *state {
	slices.Sort(c.set)
	key := make([]byte, 0, 4*len(c.set)+1)
	for _, pc := range c.set {
		key = binary.LittleEndian.AppendUint32(key, pc)
	}
	if c.matched {
		key = append(key, 1)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.states[string(key)]; s != nil {
		return s
	}
	if a.size += len(c.set) + utf8.RuneSelf; a.size > maxAutomaton {
		a.large.Store(true)
		return nil
	}
	s := &state{set: c.set, matched: c.matched, atEnd: c.matched}
	var end closure
	for _, pc := range c.set {
		end.add(a.prog, pc, edges)
	}
	s.atEnd = s.atEnd || end.matched
	if edges&syntax.EmptyBeginText == 0 { // the same set behind a rune is another state
		a.states[string(key)] = s
	}
	return s
}

// A closure is what can be reached without a rune.
type closure struct {
	set     []uint32
	seen    map[uint32]bool
	matched bool
}

// add follows what holds between runes from an instruction on.
func (c *closure) add(prog *syntax.Prog, pc uint32, edges syntax.EmptyOp) {
	if c.seen == nil {
		c.seen = map[uint32]bool{}
	}
	stack := []uint32{pc}
	for len(stack) > 0 {
		pc, stack = stack[len(stack)-1], stack[:len(stack)-1]
		if c.seen[pc] {
			continue
		}
		c.seen[pc] = true
		switch in := &prog.Inst[pc]; in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			stack = append(stack, in.Out, in.Arg)
		case syntax.InstCapture, syntax.InstNop:
			stack = append(stack, in.Out)
		case syntax.InstEmptyWidth:
			switch wants := syntax.EmptyOp(in.Arg); {
			case wants&^edges == 0:
				stack = append(stack, in.Out)
			case wants&syntax.EmptyBeginText == 0 || edges&syntax.EmptyBeginText != 0:
				c.set = append(c.set, pc) // the text may end here
			}
		case syntax.InstMatch:
			c.matched = true
		case syntax.InstFail:
		default:
			c.set = append(c.set, pc)
		}
	}
}
