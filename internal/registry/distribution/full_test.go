package distribution

import (
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
)

// An engine tries again for a minute after any answer but one of the form that the
// spec gives to refusals: 4xx, with a document of a code that it knows as final.
func TestFullIsFinal(t *testing.T) {
	w := httptest.NewRecorder()
	failure(w, &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, "BLOB_UPLOAD_INVALID")
	if w.Code < 400 || w.Code >= 500 || w.Code == 408 || w.Code == 429 {
		t.Errorf("status %d", w.Code)
	}
	if body := w.Body.String(); !strings.Contains(body, `"DENIED"`) || !strings.Contains(body, Full) {
		t.Errorf("body %s", body)
	}
}
