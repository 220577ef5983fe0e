// Command picture draws a terminal's screen, as `tmux capture-pane -e -p` writes
// it, as an SVG for the docs.
//
// In: text with SGR sequences on stdin. Out: SVG on stdout. Invariant: the same
// screen gives the same bytes.
package main
