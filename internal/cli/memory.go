package cli

import (
	"runtime/debug"
	"time"
)

// When memory is spared: the streams of some hundred containers are open by then, and a
// project without changes is up. Until then nothing is to take the processor from that.
const (
	spareLogsFrom = 3 * time.Second
	spareUpFrom   = 10 * time.Second
)

// spareMemory lets the heap grow by a quarter between collections instead of doubling, some
// time after the start: what is alive are lines and the pods, collections cost next to
// nothing, and the command runs for days beside the user's other programs. $GOGC wins.
func spareMemory(env Env, after time.Duration) (restore func()) {
	if env.Getenv("GOGC") != "" {
		return func() {}
	}
	before := make(chan int, 1)
	timer := time.AfterFunc(after, func() { before <- debug.SetGCPercent(25) })
	return func() {
		if !timer.Stop() {
			debug.SetGCPercent(<-before)
		}
	}
}
