// Package config turns kdev.yaml into a Project.
//
// In: a folder, its kdev.yaml, kdev.local.yaml and .env where they exist, the
// environment. Out: a Project in which every default is filled in, every
// variable is replaced and every path is checked; or Problems, each with the
// file and line to change.
//
// It never talks to a cluster or an engine, never renders a manifest, and
// never writes a file. Invariant: what Load returns without an error needs no
// further look at kdev.yaml by anybody.
//
// file.go holds the format itself: the Go types there are what the decoder
// obeys and what docs/kdev.schema.json and docs/config.md are generated from,
// so the three cannot disagree.
package config

//go:generate go run ./generate ../../docs
