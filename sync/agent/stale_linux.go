package agent

import (
	"strings"
	"syscall"
	"time"
)

// An agent that is killed leaves the temporary files of its batch where the disk outlives
// it: on volumes, and on the root of a container whose application it does not run. The
// next one removes them from the directories in which it writes. The name of such a file
// says whose it is: containers that share a volume write at the same time.

// tempPrefix begins the names of temporary files: .kdev-PLACE-BATCH-NUMBER, in hex but for
// the number.
const tempPrefix = ".kdev-"

const placeLength, batchLength = 16, 8

// tempPlace is the place in the name of a temporary file, and whether it is one.
func tempPlace(name string) (string, bool) {
	rest, ours := strings.CutPrefix(name, tempPrefix)
	part := strings.Split(rest, "-")
	if !ours || len(part) != 3 || len(part[0]) != placeLength || len(part[1]) != batchLength || part[2] == "" {
		return "", false
	}
	return part[0], strings.Trim(part[0]+part[1], "0123456789abcdef") == "" && strings.Trim(part[2], "0123456789") == ""
}

// staleAfter is how old a temporary file of another container must be that nobody can want
// it any more: pods whose names do not come again share volumes too.
const staleAfter = time.Hour

// tidy removes what agents before left in a directory, once in the life of this one. What
// cannot be removed stays: it is in nobody's way.
func (s *store) tidy(abs, place string, d *dirHandle) {
	st, ok := d.info.Sys().(*syscall.Stat_t)
	if !ok || s.isNew && st.Dev == s.device || !s.firstTime(abs) {
		return
	}
	for {
		some, err := d.self.Readdirnames(256)
		for _, name := range some {
			if of, is := tempPlace(name); is && s.stale(d, name, of == place) {
				_ = d.root.Remove(name)
			}
		}
		if err != nil { // the end is one too
			return
		}
	}
}

func (s *store) stale(d *dirHandle, name string, own bool) bool {
	info, err := d.lstat(name)
	if err != nil || info.IsDir() {
		return false
	}
	// Its mtime may be that of the local file already.
	ctime := stampOf(info).ctime
	return own || s.clock().Sub(time.Unix(ctime.Unix())) > staleAfter
}

// firstTime says whether a directory was not asked about before.
func (s *store) firstTime(abs string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tidied[abs] {
		return false
	}
	if s.tidied == nil {
		s.tidied = map[string]bool{}
	}
	s.tidied[abs] = true
	return true
}
