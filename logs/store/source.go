package store

// Kind says what wrote the lines of a source.
type Kind uint8

const (
	Container Kind = iota // a container, through the API
	Local                 // kdev itself: builds, syncs, local processes, its own text
	Event                 // events of Kubernetes
)

// A Source is who wrote lines. It does not change after it was made.
type Source struct {
	ID   int // counted from 0 in the store
	Kind Kind

	Name string // of a local source: "build/webui"; "" for kdev's own text, shown without a prefix

	Cluster   string // context, where lines of several are shown
	Namespace string
	Pod       string
	Container string
	Node      string
	PodUID    string
	Workload  string // UID or name of what owns the pod: replicas share it
	Labels    map[string]string
	Annos     map[string]string

	Color          int // index into the palette, of the pod; Uncolored has none
	ContainerColor int
}

// Uncolored is the colour of a source that is no pod's.
const Uncolored = -1

// AddSource numbers a source.
func (s *Store) AddSource(src Source) *Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	src.ID = len(s.sources)
	p := &src
	s.sources = append(s.sources, p)
	return p
}

// Sources are all sources so far, by ID.
func (s *Store) Sources() []*Source {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return append([]*Source(nil), s.sources...)
}
