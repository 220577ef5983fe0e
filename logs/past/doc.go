// Package past keeps log lines on disk and reads them back.
//
// In: lines of a store. Out: the same lines later, without a cluster. It keeps a
// bounded number of bytes in files that only their owner may read, and drops the
// oldest. It does not filter or format.
//
// Invariant: a line of a container is kept once, however often it is read from the
// API; a process that was killed leaves a folder that can be read.
package past
