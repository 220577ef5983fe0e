// Package logview shows the lines of a log store on a part of a screen.
//
// In: a store that other goroutines write to, a choice of lines, a pattern, a
// size. Out: rows of text for exactly that size. It knows no keys and no
// terminal. A worker, of which the caller owns the goroutine, keeps an [Index]
// of the lines that the choice shows; a [View] turns the few that are on the
// screen into rows and keeps those. Invariant: the cost of a frame follows from
// the rows on the screen, never from the lines in the store.
package logview
