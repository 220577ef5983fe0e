// Package cli is kdev's command line: one file per command.
//
// In: arguments, standard streams and the environment, handed in as Env.
// Out: text on the streams and one exit code. A command is an options struct,
// a constructor and a run function; it holds no facts of its own, it asks the
// packages below. Invariant: errors become text and an exit code in one place,
// Main.
package cli
