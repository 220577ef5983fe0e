package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kdev-io/kdev/logs/pods"
)

// ask lets the person choose a workload by its number. It is a list and a line of
// input, not a menu that paints: it works the same through a screen reader, a
// serial line and a pipe.
func (p *logsPlan) ask(ctx context.Context, clusters []*logsCluster) error {
	found := map[string]int{}
	for _, c := range clusters {
		where := p.where
		where.Namespaces = c.namespaces
		list, err := pods.List(ctx, c.client.Core, where)
		if err != nil {
			return err
		}
		owners := pods.NewOwners(c.client.Dynamic, c.client.Mapper)
		for _, pod := range list {
			name := "pod/" + pod.Name
			if chain := owners.Chain(ctx, pod); len(chain) > 0 {
				top := chain[len(chain)-1]
				name = strings.ToLower(top.Kind) + "/" + top.Name
			}
			found[name]++
		}
	}
	if len(found) == 0 {
		return errors.New("there is no pod to choose from")
	}
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		pods := "1 pod"
		if found[name] > 1 {
			pods = fmt.Sprintf("%d pods", found[name])
		}
		fmt.Fprintf(p.o.env.Err, "%3d  %s (%s)\n", i+1, name, pods)
	}
	name, err := p.answer(names)
	if err != nil {
		return err
	}
	q, err := pods.Parse(name)
	if err != nil {
		return err
	}
	p.choice.Queries = []pods.Query{q}
	return nil
}

// answer reads a number or a name.
func (p *logsPlan) answer(names []string) (string, error) {
	in := bufio.NewScanner(p.o.env.In)
	for {
		fmt.Fprintf(p.o.env.Err, "number or name of the workload: ")
		if !in.Scan() {
			return "", badLogs(errors.New("no workload was chosen"))
		}
		text := strings.TrimSpace(in.Text())
		if n, err := strconv.Atoi(text); err == nil && n >= 1 && n <= len(names) {
			return names[n-1], nil
		}
		for _, name := range names {
			if _, short, _ := strings.Cut(name, "/"); name == text || short == text {
				return name, nil
			}
		}
	}
}
