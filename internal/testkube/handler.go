package testkube

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
)

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]string{"major": "1", "minor": "36", "gitVersion": "v1.36.0"})
	})
	mux.HandleFunc("GET /api", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}})
	})
	mux.HandleFunc("GET /apis", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, groups()) })
	mux.HandleFunc("GET /api/{version}", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, resourceList("")) })
	mux.HandleFunc("GET /apis/{group}/{version}", func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusOK, resourceList(r.PathValue("group")))
	})
	mux.HandleFunc("GET /api/v1/nodes/{node}/proxy/logs/pods/{folder}/{container}/0.log", s.file)
	for _, prefix := range []string{"/api/{version}", "/apis/{group}/{version}"} {
		mux.HandleFunc("GET "+prefix+"/namespaces/{namespace}/{plural}/{name}/log", s.log)
		mux.HandleFunc("GET "+prefix+"/namespaces/{namespace}/{plural}/{name}", s.get)
		mux.HandleFunc("GET "+prefix+"/namespaces/{namespace}/{plural}", s.list)
		mux.HandleFunc("GET "+prefix+"/namespaces/{name}", func(w http.ResponseWriter, r *http.Request) {
			r.SetPathValue("plural", "namespaces")
			s.get(w, r)
		})
		mux.HandleFunc("GET "+prefix+"/{plural}/{name}", s.get)
		mux.HandleFunc("GET "+prefix+"/{plural}", s.list)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		down := s.down
		s.requests = append(s.requests, r.Method+" "+r.URL.RequestURI())
		s.mu.Unlock()
		if down {
			panic(http.ErrAbortHandler)
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	res := byPlural(r.PathValue("group"), r.PathValue("plural"))
	q := r.URL.Query()
	if res == nil {
		fail(w, http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource")
		return
	}
	m := matcher{namespace: r.PathValue("namespace")}
	var err error
	if m.labels, err = labels.Parse(q.Get("labelSelector")); err == nil {
		m.fields, err = fields.ParseSelector(q.Get("fieldSelector"))
	}
	if err != nil {
		fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
		return
	}
	watching := q.Get("watch") == "true" || q.Get("watch") == "1"
	verb := "list"
	if watching {
		verb = "watch"
	}
	if s.forbidden(w, verb, res.plural, m.namespace) {
		return
	}
	if watching {
		s.watch(w, r, res, m, q.Get("sendInitialEvents") == "true")
		return
	}
	items, version := s.objects.list(res, m)
	reply(w, http.StatusOK, map[string]any{
		"kind": res.Kind + "List", "apiVersion": res.GroupVersion().String(),
		"metadata": map[string]any{"resourceVersion": fmt.Sprint(version)}, "items": items,
	})
}

func (s *Server) watch(w http.ResponseWriter, r *http.Request, res *resource, m matcher, initial bool) {
	// A watch without a resource version starts with what there is.
	version := r.URL.Query().Get("resourceVersion")
	initial = initial || version == "" || version == "0"
	since, err := strconv.ParseInt(version, 10, 64)
	if err != nil && !initial {
		fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, "invalid resource version")
		return
	}
	wt, stop := s.objects.watch(res, m, initial, since)
	defer stop()
	bookmarks := r.URL.Query().Get("allowWatchBookmarks") == "true"
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	flush(w)
	enc := json.NewEncoder(w)
	for {
		select {
		case e := <-wt.events:
			if e.Type == "BOOKMARK" && !bookmarks {
				continue
			}
			if enc.Encode(e) != nil {
				return
			}
			flush(w)
		case <-r.Context().Done():
			return
		case <-s.stopped:
			return
		}
	}
}

func (s *Server) get(w http.ResponseWriter, r *http.Request) {
	res := byPlural(r.PathValue("group"), r.PathValue("plural"))
	if res == nil {
		fail(w, http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource")
		return
	}
	if s.forbidden(w, "get", res.plural, r.PathValue("namespace")) {
		return
	}
	u := s.objects.get(res, r.PathValue("namespace"), r.PathValue("name"))
	if u == nil {
		fail(w, http.StatusNotFound, metav1.StatusReasonNotFound, fmt.Sprintf("%s %q not found", res.plural, r.PathValue("name")))
		return
	}
	reply(w, http.StatusOK, u)
}

func (s *Server) log(w http.ResponseWriter, r *http.Request) {
	namespace, pod, container := r.PathValue("namespace"), r.PathValue("name"), r.URL.Query().Get("container")
	if s.forbidden(w, "get", "pods/log", namespace) {
		return
	}
	u := s.objects.get(byPlural("", "pods"), namespace, pod)
	if u == nil {
		fail(w, http.StatusNotFound, metav1.StatusReasonNotFound, fmt.Sprintf("pods %q not found", pod))
		return
	}
	if container == "" {
		container = onlyContainer(u)
	}
	l := s.Log(namespace, pod, container)
	fault := l.begin()
	defer l.done()
	if fault.Status != 0 {
		fail(w, fault.Status, metav1.StatusReasonUnknown, fault.Text)
		return
	}
	opts, err := logOptions(r)
	if err != nil {
		fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
		return
	}
	if run, _ := l.start(opts); run < 0 {
		fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest,
			fmt.Sprintf("previous terminated container %q in pod %q not found", container, pod))
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusOK)
	flush(w)
	if cut := l.serve(r.Context(), w, func() { flush(w) }, opts, fault); cut && fault.Reset {
		panic(http.ErrAbortHandler)
	}
}

func logOptions(r *http.Request) (Options, error) {
	q := r.URL.Query()
	o := Options{Tail: -1, Follow: q.Get("follow") == "true", Previous: q.Get("previous") == "true", Timestamps: q.Get("timestamps") == "true"}
	if v := q.Get("tailLines"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return o, fmt.Errorf("tailLines: must be greater than or equal to 0")
		}
		o.Tail = n
	}
	if v := q.Get("sinceTime"); v != "" {
		t, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return o, err
		}
		o.Since = t
	}
	if v := q.Get("sinceSeconds"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return o, fmt.Errorf("sinceSeconds: must be greater than 0")
		}
		o.Since = time.Now().Add(-time.Duration(n) * time.Second)
	}
	return o, nil
}

func onlyContainer(u *unstructured.Unstructured) string {
	list, _, _ := unstructured.NestedSlice(u.Object, "spec", "containers")
	if len(list) == 0 {
		return ""
	}
	c, _ := list[0].(map[string]any)
	name, _ := c["name"].(string)
	return name
}

func (s *Server) forbidden(w http.ResponseWriter, verb, res, namespace string) bool {
	s.mu.Lock()
	denied := s.denied[verb+" "+res]
	s.mu.Unlock()
	if denied {
		fail(w, http.StatusForbidden, metav1.StatusReasonForbidden,
			fmt.Sprintf("%s is forbidden: User \"dev\" cannot %s resource %q in API group \"\" in the namespace %q", res, verb, res, namespace))
	}
	return denied
}

func groups() metav1.APIGroupList {
	out := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	seen := map[string]bool{"": true}
	for _, r := range resources {
		if seen[r.Group] {
			continue
		}
		seen[r.Group] = true
		v := metav1.GroupVersionForDiscovery{GroupVersion: r.GroupVersion().String(), Version: r.Version}
		out.Groups = append(out.Groups, metav1.APIGroup{Name: r.Group, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v})
	}
	return out
}

func resourceList(group string) metav1.APIResourceList {
	out := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}}
	for _, r := range resources {
		if r.Group != group {
			continue
		}
		out.GroupVersion = r.GroupVersion().String()
		out.APIResources = append(out.APIResources, metav1.APIResource{
			Name: r.plural, SingularName: strings.ToLower(r.Kind), Kind: r.Kind, Namespaced: r.namespaced,
			ShortNames: r.short, Verbs: metav1.Verbs{"get", "list", "watch"},
		})
		if r.plural == "pods" {
			out.APIResources = append(out.APIResources, metav1.APIResource{Name: "pods/log", Kind: "Pod", Namespaced: true, Verbs: metav1.Verbs{"get"}})
		}
	}
	return out
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, code int, reason metav1.StatusReason, text string) {
	reply(w, code, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Code: int32(code), Reason: reason, Message: text,
	})
}

func flush(w http.ResponseWriter) {
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
}
