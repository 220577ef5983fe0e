//go:build unix

package term

import (
	"os"

	"github.com/charmbracelet/x/termios"
	"golang.org/x/sys/unix"
)

// Echoes says whether f is a terminal that writes what is typed, Ctrl-C included, as it
// is as long as no program has put it into another mode (termios(3), ECHO and ISIG).
func Echoes(f any) bool {
	file, ok := f.(*os.File)
	if !ok {
		return false
	}
	mode, err := termios.GetTermios(int(file.Fd()))
	return err == nil && mode.Lflag&unix.ECHO != 0 && mode.Lflag&unix.ISIG != 0
}
