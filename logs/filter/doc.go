// Package filter decides which lines are shown.
//
// In: lines of many sources, in order. Out: which of them to show, and which
// earlier ones with them (context, the beginning of a record). It never formats and
// never changes a line.
//
// Invariant: patterns are compiled once, and a line that does not hold the text
// that a pattern needs is never given to the regexp engine.
package filter
