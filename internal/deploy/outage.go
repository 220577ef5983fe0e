package deploy

import (
	"context"
	"errors"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kdev-io/kdev/internal/problem"
)

const (
	outageLimit = time.Minute            // how long the API server may be away in the middle of a piece of work
	outageTries = 5                      // how often it may go away during one piece of work
	outagePing  = 500 * time.Millisecond // between two looks whether it is back
)

// through does a piece of work that can be done again from its beginning, again
// when the API server went away in its middle and came back: a restart of the
// control plane takes half a minute and should fail nobody's work. Where the API server
// answers and the work fails all the same, it is an API that another program serves.
//
// Problems: those of work; apiservice-unavailable.
func (d *Deployer) through(ctx context.Context, work func() error) error {
	for try := 1; ; try++ {
		err := work()
		if !hasCode(err, "cluster-unreachable") || ctx.Err() != nil {
			return err
		}
		if try > 1 && d.client.Ping(ctx) == nil {
			if away := d.awaitServed(ctx); away != nil {
				return away
			}
		}
		if try >= outageTries {
			return err
		}
		d.tell("the API server does not answer: waiting for it")
		if !d.awaitAPI(ctx) {
			return err
		}
		d.tell("the API server is back: going on")
	}
}

// awaitServed waits until every API that is served by a program of its own (an APIService) is
// available, and says which is not when that takes too long. Who may not list them cannot tell.
func (d *Deployer) awaitServed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, outageLimit)
	defer cancel()
	ticker := time.NewTicker(outagePing)
	defer ticker.Stop()
	var away *problem.Problem
	for told := ""; ; {
		list, err := d.client.Dynamic.Resource(apiServices).List(ctx, metav1.ListOptions{})
		if err == nil {
			if away = unserved(list.Items); away == nil {
				return nil
			}
			if away.Where != told {
				told = away.Where
				d.tell(away.Where + " does not answer: waiting for it")
			}
		}
		if err != nil && away == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return away
		case <-ticker.C:
		}
	}
}

var apiServices = schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}

// unserved names the APIServices that are not available, nil where all are.
func unserved(services []unstructured.Unstructured) *problem.Problem {
	var names []string
	var said error
	for i := range services {
		conditions, _, _ := unstructured.NestedSlice(services[i].Object, "status", "conditions")
		for _, c := range conditions {
			condition, _ := c.(map[string]any)
			if condition["type"] != "Available" || condition["status"] == "True" {
				continue
			}
			names = append(names, "APIService/"+services[i].GetName())
			if message, _ := condition["message"].(string); said == nil && message != "" {
				said = errors.New(message)
			}
		}
	}
	if names == nil {
		return nil
	}
	return &problem.Problem{Class: problem.Rollout, Code: "apiservice-unavailable", Where: strings.Join(names, ", "),
		Summary: "the API server answers, but what serves this API does not", Err: said,
		Hint: "look at the Service that it names and the pods behind it; `kubectl delete apiservice NAME` takes an API away that is no longer there"}
}

func (d *Deployer) tell(text string) {
	d.telling.Lock() // objects are waited for side by side
	defer d.telling.Unlock()
	if d.options.Progress != nil {
		d.options.Progress(text)
	}
}

// awaitAPI reports whether the API server answered in time.
func (d *Deployer) awaitAPI(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, outageLimit)
	defer cancel()
	ticker := time.NewTicker(outagePing)
	defer ticker.Stop()
	for {
		if d.client.Ping(ctx) == nil {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
}

// hasCode says whether one of the errors joined in err is a problem of this code.
func hasCode(err error, code string) bool {
	if err == nil {
		return false
	}
	if p, ok := err.(*problem.Problem); ok && p.Code == code { //nolint:errorlint // each level is looked at
		return true
	}
	switch e := err.(type) { //nolint:errorlint // as above
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if hasCode(inner, code) {
				return true
			}
		}
	case interface{ Unwrap() error }:
		return hasCode(e.Unwrap(), code)
	}
	return false
}
