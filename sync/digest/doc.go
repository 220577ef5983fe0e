// Package digest computes the SHA-256 of a stream beside what else is done with it.
//
// In: the bytes, in parts of any size. Out: their digest. It keeps no part longer
// than Write takes: of a long stream it hands copies to a goroutine of its own, in a
// few buffers, so that hashing takes another processor and not more time.
//
// Invariant: the digest is sha256.Sum256 of all that was written.
package digest
