// Package watch turns what happens in a project's tree into batches of real
// changes.
//
// In: a root directory, the index of it (internal/tree), rules of what to leave
// out (internal/tree/ignore).
// Out: batches of paths that differ from what was reported before, each with a
// generation; notices when something limits the watching.
// It never writes to the tree, never follows a symbolic link, and knows nothing
// of clusters, images or the command line.
//
// Events of the system only say where to look. A flush stats those paths and
// reports what differs from the index. Whatever throws doubt on the events (a
// queue that overflowed, a watch that could not be added, a suspended machine)
// is answered by looking at the whole tree again.
//
// Invariant: the batches delivered so far, applied to a copy of the tree as it
// was when the watcher was armed, give the tree as the last flush found it.
package watch
