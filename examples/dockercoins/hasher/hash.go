package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	delay   = 100 * time.Millisecond // a good hash takes its time
	maxBody = 1 << 20
)

func handler(host string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "HASHER running on %s\n", host)
	})
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		time.Sleep(delay)
		fmt.Fprintf(w, "%x\n", sha256.Sum256(body))
	})
	return mux
}
