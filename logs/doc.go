// Package logs shows the lines of many containers, and of kdev's own work, as one
// stream.
//
// In: live pods and a choice among them, streams of the API, lines of local work.
// Out: lines in a bounded store that screens read, and, through filter and format,
// bytes on one writer. It knows no command line and no screen.
//
//	source (one per container) ┐
//	local lines                ├→ store → filter → format → one writer
//	events                     ┘     └→ views (the dashboard)
//
// Invariant: what reaches the writer is every selected line exactly once, in the
// order of its container; a slow writer makes the sources wait, it never loses.
package logs
