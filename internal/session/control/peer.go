package control

import (
	"fmt"
	"net"
	"os"
)

// ofThisUser says whether the process at the other end of a connection belongs
// to this user. The folder and the socket keep others out already; this is for
// one that somebody opened up, and for a socket that another put in the place.
func ofThisUser(conn net.Conn) error {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("%T is no unix socket", conn)
	}
	uid, known, err := peer(c)
	if err != nil {
		return fmt.Errorf("ask who is at the other end: %w", err)
	}
	if known && uid != os.Getuid() {
		return fmt.Errorf("user %d is at the other end", uid)
	}
	return nil
}

// A guarded listener hands out connections of this user only.
type guarded struct{ net.Listener }

func (g guarded) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil || ofThisUser(conn) == nil {
			return conn, err
		}
		conn.Close()
	}
}
