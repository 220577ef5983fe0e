//go:build unix

package term

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// onResize calls f after each change of the terminal's size, until the returned
// function is called.
func onResize(f func()) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGWINCH)
	done := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for {
			select {
			case <-signals:
				f()
			case <-done:
				return
			}
		}
	})
	return func() {
		signal.Stop(signals)
		close(done)
		work.Wait()
	}
}
