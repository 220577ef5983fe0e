package tui

import (
	"context"

	tea "charm.land/bubbletea/v2"
)

// A Branch is a session of another branch of the repository, which another checkout of
// it has (git worktree), or of this one in another place.
type Branch struct {
	Name      string // of the branch; of a checkout without one, the head of its commit
	Root      string // folder of the project there
	Context   string
	Namespace string
}

// branchesMsg is the sessions that there are to choose from.
type branchesMsg struct{ all []Branch }

// askBranch looks for sessions of other branches, and lets a person choose.
func (m *Model) askBranch() tea.Cmd {
	find := m.opts.Host.Branches
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		all, err := find(ctx)
		switch {
		case err != nil:
			return doneMsg{err.Error(), true}
		case len(all) == 0:
			return doneMsg{"no other branch is up: `git worktree add ../NAME BRANCH`, and there `kdev up --detach -n NAMESPACE`", true}
		}
		return branchesMsg{all}
	}
}

// openBranches shows them as things to do.
func (m *Model) openBranches(all []Branch) {
	m.overlay = &chooser{title: "sessions of other branches", from: func(*Model) []binding {
		var out []binding
		for _, b := range all {
			help := "namespace " + safe(b.Namespace) + " in " + safe(b.Context) + ", from " + safe(b.Root)
			out = append(out, binding{name: safe(b.Name), help: help, in: palette, run: func(m *Model) tea.Cmd { return m.join(b) }})
		}
		return out
	}}
}

// join hands the terminal to the other session's dashboard, until the person leaves it.
func (m *Model) join(b Branch) tea.Cmd {
	return tea.Exec(m.opts.Host.Join(b), func(err error) tea.Msg { return outcome("back from "+safe(b.Name), err) })
}
