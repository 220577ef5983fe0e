// Package tui is the terminal dashboard of `kdev up`.
//
// In: snapshots of a session's State, a store of log lines, key presses. Out:
// frames, and commands to the session. It holds no facts of its own: what is
// on the screen is in the State or in the store. It never talks to the cluster.
// Invariant: the same state, lines, size and keys give the same frame.
//
// The rules of this face:
//
//   - Update and View do no I/O and start no goroutine. What takes time is a
//     tea.Cmd, which touches no field of the Model and reports by a message.
//   - No log line is a message. Pods write into the store; a worker keeps
//     indexes over it; a message says only that they moved, at most thirty
//     times a second, and not before the last one was taken.
//   - Nothing moves while nothing happens: no clock runs unless a second of it
//     is to be seen, because a build or a rollout is under way.
//   - A row is drawn when it is on the screen, and kept.
//   - The frame is exactly as large as the terminal. What does not fit is left
//     out by its rank, never wrapped by chance.
//   - A state is told by a word and a glyph, never by colour alone.
//   - Each key is in one table (keys.go), from which the help, the palette and
//     the hints at the bottom come.
//   - What destroys something asks first and says what will be lost.
package tui
