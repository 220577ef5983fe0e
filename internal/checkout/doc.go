// Package checkout keeps commits of git repositories of others on this machine.
//
// In: the address of a repository and the full name of a commit. Out: a folder that
// holds that commit's files. Each is fetched once, by the git of this machine, with the
// user's own credentials; what is there is never looked at or fetched again, since a
// commit does not change. Invariant: a folder that Get returns is complete.
package checkout
