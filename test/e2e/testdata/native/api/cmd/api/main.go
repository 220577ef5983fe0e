package main

import (
	"fmt"
	"log"
	"net/http"

	"example.test/api/greeting"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, greeting.Text)
	})
	log.Fatal(http.ListenAndServe(":8080", nil))
}
