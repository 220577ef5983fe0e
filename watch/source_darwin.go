package watch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"
)

// fsevents is one FSEvents stream for the whole tree, opened without cgo.
type fsevents struct {
	root string // real path: FSEvents reports /private/tmp for /tmp
	sink sink
	api  *coreServices

	mu     sync.Mutex
	stream uintptr
	queue  uintptr
	id     uintptr
}

// openSource prefers FSEvents; where it cannot be loaded kqueue, which costs a
// descriptor for each file, does.
func openSource(root string, s sink) (source, error) {
	api, err := loadCoreServices()
	if err != nil {
		return openNotify(root, s)
	}
	return &fsevents{root: root, sink: s, api: api}, nil
}

func (f *fsevents) Recursive() bool { return true }

// Add starts the stream, or starts it anew when the root is another directory.
func (f *fsevents) Add(dir string) error {
	if dir != "." {
		return nil
	}
	real, err := realPath(f.root)
	if err != nil {
		return err
	}
	f.stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.id = streams.add(&streamTarget{root: real, sink: f.sink})
	f.stream, f.queue, err = f.api.start(real, f.id)
	if err != nil {
		streams.remove(f.id)
		f.id = 0
	}
	return err
}

// realPath is the path as the file system has it, which FSEvents reports: without
// links, and with the letters that were used to make it where another case finds
// it too (F_GETPATH of fcntl(2)).
func realPath(p string) (string, error) {
	dir, err := os.Open(p)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	buf := make([]byte, unix.PathMax)
	_, err = unix.FcntlInt(dir.Fd(), unix.F_GETPATH, int(uintptr(unsafe.Pointer(&buf[0]))))
	runtime.KeepAlive(buf)
	if err != nil {
		return filepath.EvalSymlinks(p)
	}
	return unix.ByteSliceToString(buf), nil
}

func (f *fsevents) Remove(dir string) {
	if dir == "." {
		f.stop()
	}
}

func (f *fsevents) Close() error {
	f.stop()
	return nil
}

func (f *fsevents) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stream == 0 {
		return
	}
	f.api.stop(f.stream, f.queue)
	streams.remove(f.id)
	f.stream, f.queue, f.id = 0, 0, 0
}

// streams maps what C hands back to the callback to its Go value: C must not
// keep Go pointers, and a callback can be made only so often per process.
var streams registry

type registry struct {
	mu   sync.Mutex
	next uintptr
	byID map[uintptr]*streamTarget
}

type streamTarget struct {
	root string
	sink sink
}

func (r *registry) add(t *streamTarget) uintptr {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID == nil {
		r.byID = map[uintptr]*streamTarget{}
	}
	r.next++
	r.byID[r.next] = t
	return r.next
}

func (r *registry) remove(id uintptr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byID, id)
}

func (r *registry) get(id uintptr) *streamTarget {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[id]
}

// coreServices are the functions of CoreServices, CoreFoundation and libdispatch
// that a stream needs.
type coreServices struct {
	create   func(allocator, callback uintptr, context *streamContext, paths uintptr, since uint64, latency float64, flags uint32) uintptr
	setQueue func(stream, queue uintptr)
	begin    func(stream uintptr) bool
	flush    func(stream uintptr)
	end      func(stream uintptr)
	discard  func(stream uintptr)
	free     func(stream uintptr)

	cfString  func(allocator uintptr, bytes *byte, length int, encoding uint32, external bool) uintptr
	cfArray   func(allocator uintptr, values *uintptr, count int, callbacks uintptr) uintptr
	cfRelease func(object uintptr)
	arrayType uintptr

	newQueue  func(label *byte, attributes uintptr) uintptr
	freeQueue func(queue uintptr)
	syncQueue func(queue, context, work uintptr)

	callback uintptr
	nothing  uintptr
}

// streamContext is FSEventStreamContext.
type streamContext struct {
	version                   int
	info                      uintptr
	retain, release, describe uintptr
}

var loadCoreServices = sync.OnceValues(func() (api *coreServices, err error) {
	defer func() { // purego panics when a symbol is missing
		if r := recover(); r != nil {
			err = fmt.Errorf("loading FSEvents: %v", r)
		}
	}()
	const frameworks = "/System/Library/Frameworks/"
	services, err := purego.Dlopen(frameworks+"CoreServices.framework/CoreServices", purego.RTLD_LAZY|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, err
	}
	foundation, err := purego.Dlopen(frameworks+"CoreFoundation.framework/CoreFoundation", purego.RTLD_LAZY|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, err
	}
	system, err := purego.Dlopen("/usr/lib/libSystem.B.dylib", purego.RTLD_LAZY|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, err
	}
	api = &coreServices{}
	for _, f := range []struct {
		to      any
		library uintptr
		name    string
	}{
		{&api.create, services, "FSEventStreamCreate"},
		{&api.setQueue, services, "FSEventStreamSetDispatchQueue"},
		{&api.begin, services, "FSEventStreamStart"},
		{&api.flush, services, "FSEventStreamFlushSync"},
		{&api.end, services, "FSEventStreamStop"},
		{&api.discard, services, "FSEventStreamInvalidate"},
		{&api.free, services, "FSEventStreamRelease"},
		{&api.cfString, foundation, "CFStringCreateWithBytes"},
		{&api.cfArray, foundation, "CFArrayCreate"},
		{&api.cfRelease, foundation, "CFRelease"},
		{&api.newQueue, system, "dispatch_queue_create"},
		{&api.freeQueue, system, "dispatch_release"},
		{&api.syncQueue, system, "dispatch_sync_f"},
	} {
		purego.RegisterLibFunc(f.to, f.library, f.name)
	}
	if api.arrayType, err = purego.Dlsym(foundation, "kCFTypeArrayCallBacks"); err != nil {
		return nil, err
	}
	api.callback = purego.NewCallback(streamCallback)
	api.nothing = purego.NewCallback(func(uintptr) uintptr { return 0 })
	return api, nil
})

const (
	cfUTF8   = 0x08000100
	sinceNow = 0xFFFFFFFFFFFFFFFF

	// kFSEventStreamCreateFlag…: the first event at once, the root's own fate,
	// events for each file.
	flagNoDefer    = 0x02
	flagWatchRoot  = 0x04
	flagFileEvents = 0x10

	// latency is how long FSEvents collects, in seconds; batching is ours.
	latency = 0.001
)

func (api *coreServices) start(dir string, id uintptr) (stream, queue uintptr, err error) {
	bytes := []byte(dir)
	name := api.cfString(0, &bytes[0], len(bytes), cfUTF8, false)
	if name == 0 {
		return 0, 0, errors.New("FSEvents does not take the path: it is not UTF-8")
	}
	defer api.cfRelease(name)
	paths := api.cfArray(0, &name, 1, api.arrayType)
	defer api.cfRelease(paths)
	stream = api.create(0, api.callback, &streamContext{info: id}, paths, sinceNow, latency, flagNoDefer|flagWatchRoot|flagFileEvents)
	if stream == 0 {
		return 0, 0, errors.New("FSEvents made no stream")
	}
	label := []byte("dev.kdev.watch\x00")
	queue = api.newQueue(&label[0], 0)
	api.setQueue(stream, queue)
	if !api.begin(stream) {
		api.discard(stream)
		api.free(stream)
		api.freeQueue(queue)
		return 0, 0, errors.New("FSEvents did not start")
	}
	return stream, queue, nil
}

// stop returns when the callback runs no more: the queue is serial, so work that
// is put at its end comes after the last call.
func (api *coreServices) stop(stream, queue uintptr) {
	api.end(stream)
	api.discard(stream)
	api.free(stream)
	api.syncQueue(queue, 0, api.nothing)
	api.freeQueue(queue)
}

// streamCallback is an FSEventStreamCallback: paths is char *[count], flags
// FSEventStreamEventFlags[count].
func streamCallback(_, info uintptr, count uintptr, paths **byte, flags *uint32, _ *uint64) uintptr {
	target := streams.get(info)
	if target == nil || count == 0 {
		return 0
	}
	names := unsafe.Slice(paths, count)
	for i, f := range unsafe.Slice(flags, count) {
		readFSEvent(target.sink, target.root, cString(names[i]), f)
	}
	return 0
}

func cString(p *byte) string {
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}
