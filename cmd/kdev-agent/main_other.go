//go:build !linux

// kdev-agent runs in Linux containers only; elsewhere it merely compiles.
package main

import "os"

func main() {
	os.Stderr.WriteString("kdev-agent runs in Linux containers\n")
	os.Exit(2)
}
