// Package control is the socket through which other processes of the same user
// see and steer a running `kdev up`.
//
// In: a session, the store of its log lines. Out: HTTP and JSON on a Unix socket
// in a directory of mode 0700; and, at the other end, a Remote, which a face uses
// as if the session ran in its own process. It never decides anything: what is
// asked for is handed to the session. Invariant: a state, an event or a line
// reads back into what the session had.
//
//	GET  /v1/about     who is there: project, root, context, namespace, process
//	GET  /v1/state     the State; with ?follow=true one line each time it changed
//	GET  /v1/events    what happened, oldest first; with ?follow=true also what comes
//	GET  /v1/lines     log lines; ?follow=true, ?tail=N; ?each=N is so many of each source
//	POST /v1/do        a Command; {"text": …} or {"problem": …}
package control
