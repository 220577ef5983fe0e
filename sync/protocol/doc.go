// Package protocol is what kdev and its agent in a container say to each other.
//
// In: a byte stream. Out: checked frames, and messages packed into them.
// It never reads a file and never keeps state; it imports nothing but small
// packages of the standard library, because the agent carries it.
//
// kdev speaks first (Hello), the agent answers (Welcome, State). Then kdev sends
// batches: Begin, any number of operations, End. The agent answers each batch
// with one Ack, so a batch costs one round trip however many files it has, and
// nothing is asked before it. Ping may come between two frames at any time.
//
// Invariant: no input makes the decoder allocate more than MaxPayload or read
// past the frame, and whatever does not decode ends the connection.
package protocol
