package router

import (
	"fmt"
	"html/template"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// A page is an answer of the router's own.
type page struct {
	Status  int
	Text    string
	Links   []link
	Refresh bool // it may be different in a moment
}

type link struct{ URL, Says string }

var pages = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>kdev: {{.Text}}</title>{{if .Refresh}}<meta http-equiv="refresh" content="2">{{end}}
<style>body{font:16px/1.5 system-ui,sans-serif;margin:3em auto;max-width:50em;padding:0 1em}td{padding-right:2em}</style></head>
<body><h1>{{.Status}}</h1><p>{{.Text}}</p>{{if .Links}}
<table>{{range .Links}}<tr><td><a href="{{.URL}}">{{.URL}}</a></td><td>{{.Says}}</td></tr>
{{end}}</table>{{end}}</body></html>
`))

// answer says in one line why there is no other answer.
func answer(w http.ResponseWriter, req *http.Request, status int, text string) {
	page{Status: status, Text: text, Refresh: status == http.StatusServiceUnavailable}.write(w, req)
}

// unknownHost lists what the project has.
func (t *Table) unknownHost(w http.ResponseWriter, req *http.Request) {
	t.list(w, req, fmt.Sprintf("%s has no host %s; this is where its services are:", t.project, hostOf(req)))
}

// unknownPath is for a host whose rules leave the path out.
func (t *Table) unknownPath(w http.ResponseWriter, req *http.Request) {
	t.list(w, req, fmt.Sprintf("no rule of host %s covers %s; this is where the services of %s are:", hostOf(req), req.URL.Path, t.project))
}

func (t *Table) list(w http.ResponseWriter, req *http.Request, text string) {
	p := page{Status: http.StatusNotFound, Text: text}
	for _, place := range t.places {
		says := "Service " + place.Service
		if place.Rule != "" {
			says += " (" + place.Rule + ")"
		}
		p.Links = append(p.Links, link{place.URL(portOf(req)), says})
	}
	p.write(w, req)
}

// URL is where a browser finds the place.
func (p Place) URL(port int) string {
	url := "http://" + net.JoinHostPort(p.Host, strconv.Itoa(port))
	if p.Path != "/" {
		url += p.Path
	}
	return url
}

func (p page) write(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !strings.Contains(req.Header.Get("Accept"), "text/html") {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(p.Status)
		fmt.Fprintln(w, "kdev: "+p.Text)
		for _, l := range p.Links {
			fmt.Fprintf(w, "%s  %s\n", l.URL, l.Says)
		}
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(p.Status)
	_ = pages.Execute(w, p) // a client that went needs none
}
