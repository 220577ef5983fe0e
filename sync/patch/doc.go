// Package patch makes a file from an older version of it and little else.
//
// In: the old bytes, and the new ones as a stream. Out: a patch; and from the old
// bytes and a patch, the new ones. It opens no files, and applying needs some
// 100 KB of memory whatever the size.
//
// The method is greedy copying with difference. A linked program whose source
// changed by a line differs in nearly every page, each by few bytes, since the
// linker shifts addresses: chunking by content finds little that is equal. Here
// the new file is walked in blocks of 64 bytes under an offset into the old one.
// A block that is equal is copied; one that is at least half equal keeps the
// offset and is sent as the bytewise difference, mostly zeros; else an index of
// the old file is asked for a better offset; what is found nowhere is sent as it
// is. Deflate takes care of the zeros.
//
// Invariant: Apply(old, Make(old, new)) is new for all old and new, and no patch
// makes Apply do anything but return bytes or an error.
package patch
