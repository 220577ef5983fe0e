package main

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHash(t *testing.T) {
	for _, c := range []struct {
		method, body string
		status       int
		want         string
	}{
		{"GET", "", 200, "HASHER running on here\n"},
		{"POST", "abc", 200, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n"},
		{"POST", strings.Repeat("x", maxBody+1), 400, "http: request body too large\n"},
	} {
		w := httptest.NewRecorder()
		handler("here").ServeHTTP(w, httptest.NewRequest(c.method, "/", strings.NewReader(c.body)))
		got, err := io.ReadAll(w.Result().Body)
		if err != nil || w.Code != c.status || string(got) != c.want {
			t.Errorf("%s: %d %q, %v", c.method, w.Code, got, err)
		}
	}
}
