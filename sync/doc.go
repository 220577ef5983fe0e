// Package sync holds nothing: its sub-packages keep files of containers equal
// to local ones.
//
//	engine     what has to be done, from two trees; pure
//	protocol   frames and messages between kdev and the agent
//	agent      the program in the container: runs the application, applies batches
//	digest     SHA-256 beside other work
//	transport  the byte stream to the agent, through the API server
//	tunnel     connections of the container's ports, over such a stream
//	mirror     all containers of a session: who has what, who gets what
//
// One word each: a tree is a map from container paths to files; what it should
// be is desired, what a container is known to hold is known; a batch is the
// difference, carried out as one; a generation numbers the desired trees.
package sync
