// Package app renders what kdev.yaml describes without manifests: services of
// the short form, the stores that they need, Secrets.
//
// In: the configuration of one environment. Out: objects as their YAML would
// be read, each with the line that it comes from. It never reads a file, asks a
// cluster or makes up a value: what a Secret holds is a placeholder, and where
// its values come from is handed on. Invariant: the same configuration gives the
// same objects, which a namespace of the Pod Security level "restricted" takes.
package app
