package kube

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/client-go/rest"
)

const metricsList = `{"kind":"PodMetricsList","items":[{"metadata":{"name":"web-1","namespace":"shop"},"containers":[
	{"name":"app","usage":{"cpu":"12345678n","memory":"20Mi"}},{"name":"side","usage":{"cpu":"0","memory":"1024Ki"}}]}]}`

const kubeletSummary = `{"node":{"nodeName":"n"},"pods":[
	{"podRef":{"name":"web-1","namespace":"shop"},"containers":[{"name":"app","cpu":{"usageNanoCores":12345678},"memory":{"workingSetBytes":20971520}},
		{"name":"side","cpu":{"usageNanoCores":0},"memory":{"workingSetBytes":1048576}}]},
	{"podRef":{"name":"coredns","namespace":"kube-system"},"containers":[{"name":"coredns","cpu":{"usageNanoCores":5},"memory":{"workingSetBytes":7}}]}]}`

func TestUsage(t *testing.T) {
	want := map[UsageKey]Usage{{"web-1", "app"}: {13, 20 << 20}, {"web-1", "side"}: {0, 1 << 20}}
	for _, tt := range []struct {
		name            string
		metrics         int
		metricsBody     string
		kubelet         int
		want            map[UsageKey]Usage
		fails, asksNode bool
	}{
		{name: "the metrics API", metrics: 200, metricsBody: metricsList, want: want},
		{name: "no metrics API: the kubelet", metrics: 404, kubelet: 200, want: want, asksNode: true},
		{name: "a metrics API without a server behind it", metrics: 503, kubelet: 200, want: want, asksNode: true},
		{name: "neither", metrics: 404, kubelet: 403, fails: true, asksNode: true},
		{name: "nonsense", metrics: 200, metricsBody: "<html>", fails: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := false
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if r.URL.Path == "/api/v1/nodes/n/proxy/stats/summary" {
					asked = true
					w.WriteHeader(tt.kubelet)
					_, _ = w.Write([]byte(kubeletSummary))
					return
				}
				if r.URL.Path != "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods" {
					t.Errorf("asks for %s", r.URL.Path)
				}
				w.WriteHeader(tt.metrics)
				_, _ = w.Write([]byte(tt.metricsBody))
			}))
			defer server.Close()
			c, err := ForConfig(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Usage(t.Context(), "shop", []string{"n"})
			if (err != nil) != tt.fails || !maps.Equal(got, tt.want) || asked != tt.asksNode {
				t.Errorf("got %v, %v (node asked: %v)", got, err, asked)
			}
		})
	}
}
