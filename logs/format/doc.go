// Package format turns lines of the store into the bytes of one output.
//
// In: a source, a line, its message. Out: bytes appended to a buffer. The outputs
// that have a name are written by hand, without reflection or allocation; a
// template is executed only where the user gave one. It never writes anywhere
// and never decides whether a line is shown.
//
// Invariant: a line in, one whole line or record out; with Options.Safe no control
// sequence of the message but SGR comes through.
package format
