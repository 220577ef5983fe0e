package watch

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

// What macOS and Windows deliver, taken apart without a system call, so that it
// is tested on any machine.

// Flags of an FSEvents event (FSEvents.h).
const (
	fseMustScanSubDirs = 0x00000001
	fseUserDropped     = 0x00000002
	fseKernelDropped   = 0x00000004
	fseEventIDsWrapped = 0x00000008
	fseHistoryDone     = 0x00000010
	fseRootChanged     = 0x00000020
	fseMount           = 0x00000040
	fseUnmount         = 0x00000080
	fseItemCreated     = 0x00000100
	fseItemRemoved     = 0x00000200
	fseItemRenamed     = 0x00000800
	fseItemModified    = 0x00001000
)

// readFSEvent tells sink what one event of macOS means. path is absolute, root
// the real path that the stream was opened for. Flags add up over a while, so a
// file that was made and then written may be said to be created many times.
func readFSEvent(s sink, root, path string, flags uint32) {
	switch {
	case flags&fseHistoryDone != 0:
		return
	case flags&(fseUserDropped|fseKernelDropped|fseEventIDsWrapped) != 0:
		s.uncertain("macOS dropped file events")
		return
	case flags&fseRootChanged != 0:
		s.event(".", moved)
		return
	}
	p, ok := relative(root, strings.TrimSuffix(path, "/"))
	if !ok {
		return
	}
	var m mark
	switch {
	case flags&(fseMustScanSubDirs|fseMount|fseUnmount) != 0:
		m = deep
	case flags&(fseItemCreated|fseItemRemoved|fseItemRenamed) != 0:
		m = moved | written
	case flags&fseItemModified != 0:
		m = written
	}
	if p == "." && m&deep == 0 {
		m = 0 // the root's own entry list changed: its files have events of their own
	}
	s.event(p, m)
}

// Actions of a FILE_NOTIFY_INFORMATION (winnt.h).
const (
	actionAdded      = 1
	actionRemoved    = 2
	actionModified   = 3
	actionRenamedOld = 4
	actionRenamedNew = 5
)

// readNotifyInformation tells sink what a buffer of ReadDirectoryChangesW holds:
// entries of { u32 offset of the next, u32 action, u32 bytes of the name, name in
// UTF-16 }. long makes a long path of one with 8.3 names.
func readNotifyInformation(s sink, buf []byte, long func(string) string) {
	const header = 12
	for len(buf) >= header {
		next := binary.LittleEndian.Uint32(buf)
		action := binary.LittleEndian.Uint32(buf[4:])
		length := binary.LittleEndian.Uint32(buf[8:])
		if uint64(header)+uint64(length) > uint64(len(buf)) {
			s.uncertain("the system's list of changes was cut off")
			return
		}
		name := make([]uint16, length/2)
		for i := range name {
			name[i] = binary.LittleEndian.Uint16(buf[header+2*i:])
		}
		p := string(utf16.Decode(name))
		if strings.Contains(p, "~") {
			p = long(p)
		}
		var m mark
		switch action {
		case actionModified:
			m = written
		case actionAdded, actionRemoved, actionRenamedOld, actionRenamedNew:
			m = moved | written
		}
		if p = strings.ReplaceAll(p, `\`, "/"); p != "" {
			s.event(p, m)
		}
		if next == 0 {
			return
		}
		if uint64(next) > uint64(len(buf)) {
			s.uncertain("the system's list of changes was cut off")
			return
		}
		buf = buf[next:]
	}
}
