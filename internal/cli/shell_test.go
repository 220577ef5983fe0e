package cli

import "testing"

// A heldReader says when it is read, and ends when it is told to.
type heldReader struct{ reads, end chan struct{} }

func (r heldReader) Read([]byte) (int, error) {
	close(r.reads)
	<-r.end
	return 0, nil
}

// TestAwaitedReader: nobody goes on while a read is under way.
func TestAwaitedReader(t *testing.T) {
	from := heldReader{make(chan struct{}), make(chan struct{})}
	r := &awaitedReader{from: from}
	r.over() // nobody reads
	order := make(chan string, 2)
	go func() {
		_, _ = r.Read(nil)
	}()
	<-from.reads
	go func() {
		r.over()
		order <- "went on"
	}()
	order <- "still reading"
	close(from.end)
	if first, second := <-order, <-order; first != "still reading" || second != "went on" {
		t.Errorf("%s, then %s", first, second)
	}
}
