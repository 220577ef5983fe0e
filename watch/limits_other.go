//go:build !linux

package watch

import "fmt"

func limitText(used int) string {
	return fmt.Sprintf("the system allows no more open files: kdev watches %d directories; the others are looked at every %d ms. "+
		"Raise the limit with: ulimit -n 10240", used, pollEvery.Milliseconds())
}

func instancesText() string {
	return fmt.Sprintf("the system allows no more event queues; the whole tree is looked at every %d ms", pollEvery.Milliseconds())
}
