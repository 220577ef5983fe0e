// Here answers in the place of api.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

const greeting = "first"

func main() {
	fmt.Println("the password is", os.Getenv("PASSWORD"))
	http.HandleFunc("/die", func(http.ResponseWriter, *http.Request) { os.Exit(7) })
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		store := "nothing"
		if resp, err := http.Get(os.Getenv("STORE_URL") + "/page.txt"); err != nil {
			store = err.Error()
		} else {
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			store = strings.TrimSpace(string(b))
		}
		fmt.Fprintf(w, "%s here: %s, %s, %s, %s", greeting, os.Getenv("MODE"), os.Getenv("PASSWORD"), os.Getenv("EXTRA"), store)
	})
	fmt.Println(http.ListenAndServe("127.0.0.1:18970", nil))
}
