// Package sbom says what software an image holds, as an SPDX 2.3 document.
//
// In: an image. Out: JSON with the image, the packages of its distribution
// (dpkg, apk), the modules of its Go programs, and its npm and Python packages,
// each with its version and package URL.
// It reads databases and file names, runs nothing, and asks no network: what no
// package manager knows is not listed. Invariant: equal images give equal
// documents.
package sbom
