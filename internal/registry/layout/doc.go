// Package layout is kdev's store of images: an OCI image layout directory
// that several processes read and write at once.
//
// In: blobs as streams, manifests as bytes, tags.
// Out: the same by digest, by repository and tag.
// It never speaks HTTP and knows nothing of engines or clusters; it uses the
// standard library only, because the in-cluster program holds it.
// Invariant: a file under blobs/ has exactly the content that its name says,
// or it does not exist. Everything reaches its final name by rename, so a
// process killed at any point leaves at most a file under uploads/.
//
//	oci-layout                 version marker of the image-layout spec
//	index.json                 every manifest of every repository, with its tag
//	blobs/sha256/<hex>         layers, configs, manifests
//	uploads/<id>               unfinished blobs, each locked by its writer
//	kdev/<kind>/<key>          what kdev remembers beside the images (records, cache keys, looks of verified blobs)
//	leases/<id>                blobs that a living process needs, locked by it
//	lock                       flock: shared while images are put, exclusive while they are collected
//	index.lock                 flock: exclusive for the few lines that rewrite index.json
package layout
