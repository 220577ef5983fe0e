// Package store keeps log lines in memory, in the order in which they arrived.
//
// In: batches of lines, each batch from one source, written in place into a
// chunk that the source owns. Out: the same lines by a number that never
// changes, to cursors (a writer that must see every line) and to views (a screen
// that shows some). It knows nothing of Kubernetes, formats or files.
//
// Invariant: memory is bounded by the limit plus one chunk per source. What a
// lossless cursor has not read is never dropped: its sources wait instead. What
// is dropped otherwise is counted.
package store
