package cli

import (
	"os"
	"syscall"
	"testing"
	"time"
)

// TestSignalsOfTimeout: timeout(1) signals the command, and then the process group that
// the command is in. That is one interruption, after which it still ends by itself.
func TestSignalsOfTimeout(t *testing.T) {
	first := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	for after, want := range map[time.Duration]bool{0: false, echo - 1: false, echo: true, time.Second: true} {
		signals, done := make(chan os.Signal), make(chan struct{})
		go func() {
			signals <- os.Interrupt
			close(done)
		}()
		if got := again(signals, done, first, func() time.Time { return first.Add(after) }); got != want {
			t.Errorf("a signal %v behind the first is another one: %v, want %v", after, got, want)
		}
	}
}

// TestShield: a Ctrl-C for what is in front of the command is not one for the command, and
// what ends the process is.
func TestShield(t *testing.T) {
	var s shield
	if s.takes(os.Interrupt) {
		t.Error("takes one, and nothing is in front")
	}
	taken := 0
	restore := s.put(func() { taken++ })
	if !s.takes(os.Interrupt) || s.takes(syscall.SIGTERM) || taken != 1 {
		t.Errorf("took %d, want the Ctrl-C", taken)
	}
	restore()
	if s.takes(os.Interrupt) {
		t.Error("takes one, and what was in front is gone")
	}
}
