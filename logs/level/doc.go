// Package level finds the severity of a log line, and which lines belong together.
//
// In: one line of any program. Out: a level, or none where the line does not say;
// whether the line continues the record that an earlier one began. It parses no more
// of a line than it must and never allocates.
//
// Invariant: the answer depends on the line and, for grouping, on the lines of the
// same source before it; never on time.
package level
