// Package tui is the terminal dashboard of `kdev up`.
//
// In: snapshots of a session's State, lines (logs and notices) and key
// presses. Out: frames. It holds no facts of its own and does no I/O in
// Update or View: everything arrives as a message. It never talks to the
// cluster. Invariant: the same state, lines and size give the same frame.
//
// The rules of this face:
//   - the first line says what runs where and whether it is ready;
//   - one row per service, in the order of the project; the selected row is
//     marked and its problem, if any, is spelled out under the table;
//   - the rest of the screen is the newest lines, of all services or of the
//     selected one;
//   - the last line names the keys;
//   - a state is told by a word and a glyph, never by colour alone.
package tui
