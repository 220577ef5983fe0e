package pullthrough

import (
	"sync"
	"time"
)

// maxRemembered bounds what pods can make this program remember.
const maxRemembered = 4096

// tokens are those that registries gave.
type tokens struct {
	mu sync.Mutex
	of map[string]token
}

func (t *tokens) get(key string, now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k, ok := t.of[key]; ok && now.Before(k.until) {
		return k.header
	}
	return ""
}

func (t *tokens) put(key string, k token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil || len(t.of) >= maxRemembered {
		t.of = map[string]token{}
	}
	t.of[key] = k
}

func (t *tokens) drop(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.of, key)
}

func (t *tokens) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.of)
}

// moments remember something until a time.
type moments struct {
	mu sync.Mutex
	of map[string]time.Time
}

func (m *moments) has(key string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return now.Before(m.of[key])
}

func (m *moments) put(key string, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil || len(m.of) >= maxRemembered {
		m.of = map[string]time.Time{}
	}
	m.of[key] = until
}

func (m *moments) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.of)
}

// silences are the hosts that did not answer, and what happened.
type silences struct {
	mu sync.Mutex
	of map[string]silenced
}

type silenced struct {
	until time.Time
	err   error
}

// get is what happened, or nil.
func (s *silences) get(host string, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, ok := s.of[host]; ok && now.Before(k.until) {
		return k.err
	}
	return nil
}

func (s *silences) put(host string, until time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil || len(s.of) >= maxRemembered {
		s.of = map[string]silenced{}
	}
	s.of[host] = silenced{until, err}
}

func (s *silences) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.of)
}
