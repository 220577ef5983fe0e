//go:build !linux && !darwin

package control

import "net"

// peer does not know: the folder's mode or access list is what keeps others out.
func peer(*net.UnixConn) (uid int, known bool, err error) { return 0, false, nil }
