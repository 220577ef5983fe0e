package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/session/control"
	"github.com/kdev-io/kdev/internal/term"
	"github.com/kdev-io/kdev/sync/mirror"
)

// rolloutPatience is how long `--until ready` gives a rollout that shows a
// problem: a crash before its database is there mends itself.
const rolloutPatience = 20 * time.Second

// confirmation is how long everything has to stay ready where pods have just
// started: without a readiness probe, a process counts as ready before it has
// had time to fail. The kubelet looks once a second for those that have ended, and
// one that ends at once was seen to be told more than a second after it was Ready.
const confirmation = 3 * time.Second

// upOptions are the flags of `kdev up`.
type upOptions struct {
	env        Env
	flags      projectFlags
	until      string
	timeout    time.Duration
	began      time.Time // the timeout counts from here
	output     string
	plain      bool
	accessible bool
	joins      bool // a session of another process
	detach     bool
	cleanup    bool
	logFile    string // of a session in the background, which it was started as
	session    session.Options
	hide       secrets
}

func newUp(env Env) *cobra.Command {
	o := &upOptions{env: env}
	cmd := &cobra.Command{
		Use:         "up [SERVICE...]",
		Annotations: map[string]string{leftBehind: "`kdev down` removes what was deployed"},
		Short:       "Bring the project up and keep it true while you edit",
		Long: `Up brings the project up on a local cluster, creating one when there is none:
it builds what is not built yet, applies the manifests, waits for the rollout,
forwards ports and shows the logs. Then it watches: a saved file goes into the
running containers where the Dockerfile says where it belongs, anything else
that an image depends on builds that service again, and a changed manifest is
applied. On a terminal it shows a dashboard (docs/dashboard.md), elsewhere lines.
Ctrl-C leaves everything running; "kdev down" removes it.

With names it brings up these services and what they need. Where this project is
up already, it joins that session instead of starting another one, and starts in
it what was named.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.session.Services = args
			if o.until != "" && o.until != "ready" {
				return usageError(cmd, fmt.Sprintf("--until is ready, not %q", o.until))
			}
			if err := checkOutput(cmd, o.output, "text", "json"); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	o.flags.add(cmd)
	f := cmd.Flags()
	f.StringVar(&o.until, "until", "", "leave with exit code 0 when everything is: ready")
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "with --until: leave with exit code 4 when this time has passed since the start, a cluster's creation included")
	f.StringVarP(&o.output, "output", "o", "text", "text or json: one object for each thing that happens")
	f.BoolVar(&o.plain, "plain", false, "lines of text instead of the dashboard; the default where there is no terminal, with CI set or TERM=dumb")
	f.BoolVar(&o.accessible, "accessible", false, "lines for a screen reader: words instead of glyphs, columns and boxes; as with ACCESSIBLE set")
	f.BoolVar(&o.session.NoSync, "no-sync", false, "build images for every change instead of copying files")
	f.BoolVar(&o.session.NoBuild, "no-build", false, "build nothing: what runs goes on, and files that need no new image are synced")
	f.BoolVar(&o.session.NoPorts, "no-ports", false, "forward no ports, and serve no addresses by name")
	f.BoolVarP(&o.detach, "detach", "d", false, "go on in the background; with --until, return when that has come")
	f.BoolVar(&o.cleanup, "cleanup", false, "remove what was deployed on leaving, as `kdev down` does")
	f.StringVar(&o.logFile, "log-file", "", "where a session in the background writes to")
	_ = f.MarkHidden("log-file") // for --detach; fails only for a flag that is not there
	cmd.MarkFlagsMutuallyExclusive("plain", "output")
	cmd.MarkFlagsMutuallyExclusive("accessible", "output")
	return cmd
}

func (o *upOptions) run(ctx context.Context) error {
	o.began = time.Now()
	defer spareMemory(o.env, spareUpFrom)()
	p, err := o.flags.loadIncluded(ctx, o.env, steps(o.env))
	if err != nil {
		return err
	}
	o.session.Project = p
	o.session.NoWatch = o.until != ""

	facts := term.Detect(o.env.Out, term.ColorAuto, o.env.Getenv)
	if handled, err := o.elsewhere(ctx, p, facts); handled || err != nil {
		return err
	}
	face, err := o.face(p, facts)
	if err != nil {
		return err
	}
	started := time.Now()
	for _, d := range p.Detected {
		face.notice(session.Notice{Time: started, Level: session.Info, Code: "detected", Text: d})
	}
	err = o.hide.failure(o.with(ctx, p, masked{face, &o.hide}))
	return errors.Join(err, face.close())
}

// elsewhere brings the project up in another process: in the one that has it up
// already, which is joined, or in one in the background, with --detach.
func (o *upOptions) elsewhere(ctx context.Context, p *config.Project, facts term.Facts) (handled bool, _ error) {
	found, err := control.Find(o.env.Getenv, p.Root, o.flags.context, p.Namespace)
	switch {
	case err != nil:
		return false, err
	case len(found) > 1:
		return false, ambiguous(p.Root, found)
	case len(found) == 0 && !o.detach:
		return false, nil
	}
	fresh := len(found) == 0
	if !fresh {
		if err := found[0].Suspended(); err != nil {
			return false, err
		}
	}
	if o.cleanup && !fresh {
		return false, &problem.Problem{Class: problem.Usage, Code: "command-refused", Where: p.Root,
			Summary: "the project is up already: one who joins cannot have it removed on leaving", Hint: "leave out --cleanup; `kdev down` removes what is deployed"}
	}
	if fresh {
		about, err := o.background(ctx, p)
		if err != nil {
			return false, err
		}
		found = append(found, about)
	}
	if o.detach && o.until == "" {
		where := "it goes on in the background"
		if !fresh {
			where = "it is up already"
		}
		_, err := fmt.Fprintf(o.env.Out, "%s (process %d): `kdev status`, `kdev attach`, `kdev stop`\n", where, found[0].PID)
		return true, err
	}
	o.joins = true
	face, err := o.face(p, facts)
	if err != nil {
		return false, err
	}
	if fresh {
		o.session.Services = nil // it was started with them
	}
	return true, errors.Join(o.join(ctx, found[0], face), face.close())
}

// with opens what a session needs, runs it under the face and says how it ended.
func (o *upOptions) with(ctx context.Context, p *config.Project, face face) error {
	whole := ctx
	ctx, opened := o.opening(ctx)
	members, closeMembers, err := o.members(ctx, p, face)
	defer closeMembers()
	if late := opened(); late != nil {
		return late
	}
	if err != nil {
		return err
	}
	s := group(members)
	s.OnNotice(face.notice)
	s.OnOutput(face.output)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var work sync.WaitGroup
	defer work.Wait()
	if o.until == "" { // one that is about to end is nothing to join
		o.serveControl(ctx, &work, s, face)
	}
	var outcome error
	work.Go(func() {
		outcome = s.Run(ctx)
		cancel()
	})
	left, faceErr := face.show(ctx, s, members)
	switch {
	case left || faceErr != nil:
	case o.until != "":
		faceErr = o.await(ctx, s)
	default:
		<-ctx.Done()
	}
	interrupted := whole.Err() != nil // else a person had it stopped
	cancel()
	work.Wait()
	if o.cleanup || s.Down() {
		outcome = errors.Join(outcome, o.removeAll(context.WithoutCancel(whole), members, face))
	} else {
		o.leave(s, face)
	}
	switch {
	case outcome != nil:
		return outcome
	case faceErr != nil:
		return faceErr
	case interrupted:
		return exitCode(exitInterrupted)
	}
	return nil
}

// opening bounds by the timeout what comes before there is a session: a cluster that is
// made, images that are fetched. The context lasts as long as ctx when opened is called in
// time; else opened says what was not.
func (o *upOptions) opening(ctx context.Context) (_ context.Context, opened func() error) {
	if o.until == "" {
		return ctx, func() error { return nil }
	}
	ctx, cancel := context.WithCancel(ctx)
	late := time.AfterFunc(time.Until(o.began.Add(o.timeout)), cancel)
	return ctx, func() error {
		if late.Stop() {
			return nil
		}
		return &problem.Problem{Class: problem.Timeout, Code: "not-ready", Summary: fmt.Sprintf("not ready after %s: the cluster and what the project needs of it were still being opened", took(o.timeout)),
			Hint: "--timeout gives it longer; `kdev cluster create` before it takes a cluster's creation out of that time"}
	}
}

// await returns when everything is ready, or when it is known that it will not
// be: at once for a build or a manifest, which nothing but an edit mends, after
// a while for a rollout.
func (o *upOptions) await(ctx context.Context, s session.Control) error {
	changed, stop := s.Subscribe()
	defer stop()
	timeout := time.NewTimer(time.Until(o.began.Add(o.timeout)))
	defer timeout.Stop()
	patience := time.NewTimer(rolloutPatience)
	patience.Stop()
	defer patience.Stop()
	failing := false // a rollout has shown a problem
	confirm := time.NewTimer(confirmation)
	confirm.Stop()
	defer confirm.Stop()
	var readySince time.Time
	for {
		st := s.State()
		switch {
		case st.Ready && (!fresh(st) || !readySince.IsZero() && time.Since(readySince) >= confirmation):
			return nil
		case st.Ready && readySince.IsZero():
			readySince = time.Now()
			confirm.Reset(confirmation)
		case !st.Ready:
			readySince = time.Time{}
			confirm.Stop()
		}
		p, final := hopeless(st)
		if final {
			return p
		}
		if p != nil && !failing {
			failing = true
			patience.Reset(rolloutPatience)
		}
		select {
		case <-changed:
		case <-confirm.C:
		case <-patience.C:
			if p != nil {
				return p
			}
			patience.Reset(time.Second) // it runs again at the moment: a crash comes and goes
		case <-timeout.C:
			return notReady(st, o.timeout)
		case <-ctx.Done():
			return nil // the caller knows why
		}
	}
}

// fresh says whether a pod was made by this session.
func fresh(st *session.State) bool {
	for _, svc := range st.Services {
		for _, p := range svc.Pods {
			if !p.Created.Before(st.Started.Truncate(time.Second)) { // the API server counts in seconds
				return true
			}
		}
	}
	return false
}

// hopeless finds a problem and says whether waiting is no use.
func hopeless(st *session.State) (p *problem.Problem, final bool) {
	if len(st.Problems) > 0 {
		return st.Problems[0], true
	}
	for _, svc := range st.Services {
		if svc.Phase == session.Building {
			return nil, false // it may yet fail, and then the first failure is told with it
		}
	}
	for _, svc := range st.Services {
		if svc.Ignored || svc.Phase != session.FailedPhase || svc.Problem != nil && svc.Problem.Code == mirror.NoConnection {
			continue // an agent that is tried again has the time that there is: a busy machine is no failure
		}
		if svc.Stuck {
			return svc.Problem, true
		}
		if p == nil {
			p = svc.Problem
		}
	}
	if all := st.Troubles(); p == nil && len(all) > 0 {
		p = all[0] // of an object without pods
	}
	return p, false
}

// notReady is the problem of a timeout: what is missing, and why as far as known.
func notReady(st *session.State, after time.Duration) error {
	var missing []string
	var cause error
	for _, svc := range st.Services {
		if svc.Phase == session.Ready || svc.Ignored {
			continue
		}
		what := svc.Name + " is " + string(svc.Phase)
		if svc.Waiting != nil {
			what += " (waits for " + svc.Waiting.Text + ")"
		}
		missing = append(missing, what)
		if svc.Problem != nil && cause == nil {
			cause = svc.Problem
		}
	}
	for i := range st.Objects {
		if o := &st.Objects[i]; !o.Ready && !o.Ignored {
			missing = append(missing, o.String()+" waits for "+o.Waiting)
			if o.Problem != nil && cause == nil {
				cause = o.Problem
			}
		}
	}
	if len(missing) == 0 {
		missing = []string{"nothing is deployed yet"}
	}
	return &problem.Problem{
		Class: problem.Timeout, Code: "not-ready", Err: cause,
		Summary: fmt.Sprintf("not ready after %s: %s", took(after), strings.Join(missing, ", ")),
		Hint:    "`kdev up` without --until goes on waiting and shows why; --timeout gives it longer",
	}
}

// leave says what stays behind and how to get rid of it.
func (o *upOptions) leave(s session.Control, face face) {
	st := s.State()
	for _, svc := range st.Services {
		if n := len(svc.Ahead); n > 0 {
			face.notice(session.Notice{Level: session.Info, Service: svc.Name, Code: "ahead",
				Text: fmt.Sprintf("newer in the containers than in the image: %s", few(svc.Ahead))})
		}
	}
	for i := range st.Services {
		if svc := &st.Services[i]; svc.Build != nil && svc.Build.Phase == session.BuildRunning {
			face.notice(session.Notice{Level: session.Info, Service: svc.Name, Code: "build-ended",
				Text: fmt.Sprintf("its build was ended (%s): what runs is from before, and the next `kdev up` builds", svc.Build.Why)})
		}
	}
	if st.Deployed {
		face.notice(session.Notice{Level: session.Info, Code: "left", Text: o.flags.aim().text(fmt.Sprintf("left running in %s, namespace %s; `kdev up` goes on with it, `kdev down` removes it", st.Context, strings.Join(st.Namespaces(), ", ")))})
	}
}

// removeAll takes away what all projects deployed, the included ones last.
func (o *upOptions) removeAll(ctx context.Context, members []member, face face) error {
	var errs []error
	for _, m := range members {
		errs = append(errs, o.remove(ctx, m.parts.Deployer, face))
	}
	return errors.Join(errs...)
}

// remove takes away what was deployed. It is not interrupted by what made the
// session leave; a second Ctrl-C ends the process at once. What does not go in the time of
// `kdev down` is named.
func (o *upOptions) remove(ctx context.Context, d *deploy.Deployer, face face) error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, downLimit)
	defer cancel()
	report, err := d.Down(ctx, deploy.DownOptions{Progress: func(text string) {
		face.notice(session.Notice{Level: session.Info, Code: "progress", Text: text})
	}})
	for _, l := range report.Left {
		face.notice(session.Notice{Level: session.Warn, Code: "kept", Text: "not removed: " + l.Object + ": " + l.Why})
	}
	if err == nil || len(report.Removed) > 0 {
		face.notice(session.Notice{Level: session.Done, Code: "removed", Text: fmt.Sprintf("removed %d objects", len(report.Removed)), Took: session.Millis(time.Since(start))})
	}
	if len(report.KeptVolumes) > 0 {
		face.notice(session.Notice{Level: session.Info, Code: "volumes-kept", Text: o.flags.aim().text(session.KeptVolumes(report.KeptVolumes))})
	}
	for _, k := range report.Kept {
		face.notice(session.Notice{Level: session.Info, Code: "kept", Text: "kept " + k.Object + ": " + k.Why})
	}
	if report.KeptNamespace != "" {
		face.notice(session.Notice{Level: session.Info, Code: "kept", Text: "kept the namespace: " + report.KeptNamespace})
	}
	return err
}

// few names the first of many.
func few(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
