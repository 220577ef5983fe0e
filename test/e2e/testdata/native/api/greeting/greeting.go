// Package greeting is what the program says.
package greeting

// Text is the greeting.
const Text = "hello from Go"
