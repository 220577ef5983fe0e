// Package deploy brings manifests to a cluster and says how they fare.
//
// In: sources of manifests, images by service, a client. Out: objects with
// their origin, what was applied, pruned or removed, and for each workload how
// far its rollout is and why it is not getting further. It never waits for a
// rollout, never polls, and never touches an object that is not a member of
// its ApplySet (KEP-3659) or about to become one. Invariant: what it changes
// in an object compared with its render is image references, declared command
// prefixes and the ApplySet label, and no label ever in a pod template.
package deploy
