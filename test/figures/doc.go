// Package figures is the table of a benchmark program: each figure beside its aim.
//
// In: figures as they are measured. Out: a line for a person at once, and at the end
// JSON. It judges nothing: a figure that falls short is told, and the program goes on.
package figures
