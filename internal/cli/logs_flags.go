package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kdev-io/kdev/logs/level"
)

// addFlags defines the flags. The wording of stern's own is its.
func (o *logsOptions) addFlags(cmd *cobra.Command) {
	o.since = sinceValue{text: "48h0m0s", ago: 48 * time.Hour}
	f := cmd.Flags()
	f.SortFlags = true
	o.kube.add(f)
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "Path to the kubeconfig file to use for CLI requests.")
	f.StringSliceVar(&o.contexts, "context", nil, "The name of the kubeconfig context to use. Repeat it to read several clusters at once.")

	f.BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "If present, tail across all namespaces. A specific namespace is ignored even if specified with --namespace.")
	f.StringVar(&o.color, "color", "auto", "Force set color output. 'auto':  colorize if tty attached, 'always': always colorize, 'never': never colorize.")
	f.StringVar(&o.completion, "completion", "", "Output command-line completion code for the specified shell. Can be 'bash', 'zsh', 'fish' or 'powershell'.")
	f.StringVarP(&o.container, "container", "c", ".*", "Container name when multiple containers in pod. (regular expression)")
	f.StringSliceVar(&o.containerStates, "container-state", []string{"all"}, "Tail containers with state in running, waiting, terminated, or all. 'all' matches all container states. To specify multiple states, repeat this or set comma-separated value.")
	f.StringArrayVarP(&o.exclude, "exclude", "e", nil, "Log lines to exclude. (regular expression)")
	f.StringArrayVarP(&o.excludeContain, "exclude-container", "E", nil, "Container name to exclude when multiple containers in pod. (regular expression)")
	f.StringArrayVar(&o.excludePod, "exclude-pod", nil, "Pod name to exclude. (regular expression)")
	f.StringVar(&o.condition, "condition", "", "The condition to filter on: [condition-name[=condition-value]. The default condition-value is true. Match is case-insensitive.")
	f.BoolVar(&o.noFollow, "no-follow", false, "Exit when all logs have been shown.")
	f.StringArrayVarP(&o.include, "include", "i", nil, "Log lines to include. (regular expression)")
	f.StringArrayVarP(&o.highlight, "highlight", "H", nil, "Log lines to highlight. (regular expression)")
	f.BoolVar(&o.initContainers, "init-containers", true, "Include or exclude init containers.")
	f.BoolVar(&o.ephemeral, "ephemeral-containers", true, "Include or exclude ephemeral containers.")
	f.StringSliceVarP(&o.namespaces, "namespace", "n", nil, "Kubernetes namespace to use. Default to namespace configured in kubernetes context. To specify multiple namespaces, repeat this or set comma-separated value.")
	f.StringVar(&o.node, "node", "", "Node name to filter on.")
	f.IntVar(&o.maxLogRequests, "max-log-requests", -1, "Maximum number of concurrent logs to request; those beyond it are read in turn. Defaults to 200, but 5 when specifying --no-follow")
	f.Float32Var(&o.qps, "qps", -1, "Maximum QPS to the Kubernetes API server. Defaults to -1 (no client-side throttling).")
	f.IntVar(&o.burst, "burst", 0, "Maximum burst for throttle to the Kubernetes API server. Ignored when --qps=-1.")
	f.StringVarP(&o.output, "output", "o", "default", "Specify predefined template. Currently support: [default, raw, json, extjson, ppextjson, jsonl, logfmt, prefix]")
	f.BoolVarP(&o.prompt, "prompt", "p", false, "Choose from a list of the workloads that have pods.")
	f.StringVarP(&o.selector, "selector", "l", "", "Selector (label query) to filter on. If present, default to \".*\" for the pod-query.")
	f.StringVar(&o.fieldSelector, "field-selector", "", "Selector (field query) to filter on. If present, default to \".*\" for the pod-query.")
	f.VarP(&o.since, "since", "s", "Return logs newer than a relative duration like 5s, 2m, or 3h, or than a time like 2026-01-02T15:04:05Z. 0 returns all.")
	f.Int64Var(&o.tail, "tail", -1, "The number of lines from the end of the logs to show. Defaults to -1, showing all logs.")
	f.StringVar(&o.template, "template", "", "Template to use for log lines, leave empty to use --output flag.")
	f.StringVarP(&o.templateFile, "template-file", "T", "", "Path to template to use for log lines, leave empty to use --output flag. It overrides --template option.")
	f.StringVarP(&o.timestamps, "timestamps", "t", "", "Print timestamps with the specified format. One of 'default', 'short', 'ms' or 'delta' in the form '--timestamps=format' ('=' cannot be omitted). If specified but without value, 'default' is used.")
	f.StringVar(&o.timezone, "timezone", "Local", "Set timestamps to specific timezone.")
	f.BoolVar(&o.onlyLogLines, "only-log-lines", false, "Print only log lines")
	f.StringVar(&o.configFile, "config", "", "Path to the config file (default: kdev's logs.yaml, else stern's config.yaml)")
	f.IntVar(&o.verbosity, "verbosity", 0, "Number of the log level verbosity")
	f.BoolVarP(&o.version, "version", "v", false, "Print the version and exit.")
	f.BoolVar(&o.showHidden, "show-hidden-options", false, "Print a list of hidden options.")
	f.BoolVar(&o.stdin, "stdin", false, "Parse logs from stdin. All Kubernetes related flags are ignored when it is set.")
	f.BoolVarP(&o.diffContainer, "diff-container", "d", false, "Display different colors for different containers.")
	f.StringSliceVar(&o.podColors, "pod-colors", nil, "Specifies the colors used to highlight pod names. Provide colors as a comma-separated list using SGR (Select Graphic Rendition) sequences, e.g., \"91,92,93,94,95,96\".")
	f.StringSliceVar(&o.containerColors, "container-colors", nil, "Specifies the colors used to highlight container names. Use the same format as --pod-colors. Defaults to the values of --pod-colors if omitted, and must match its length.")
	f.Lookup("timestamps").NoOptDefVal = "default"

	f.DurationVar(&o.lasting, "for", 0, "Leave after this time: with exit code 0, or 4 where --until was not reached.")
	f.StringVar(&o.until, "until", "", "Leave when all pods are 'ready', all are 'done', one has 'failed', or a line that is shown matches this regular expression.")
	f.StringVar(&o.level, "level", "", "Show records of this severity and above: "+strings.Join(level.Names(), ", ")+". A record that does not say counts as info.")
	f.BoolVar(&o.records, "records", false, "Make --include and --exclude look at whole records: a traceback of which one line matches is shown whole, one that begins with an excluded line goes whole.")
	f.IntVar(&o.before, "before", 0, "Show so many lines of the same container before each line shown.")
	f.IntVar(&o.after, "after", 0, "Show so many lines of the same container after each line shown.")
	f.IntVar(&o.around, "around", 0, "Show so many lines of the same container around each line shown.")
	f.BoolVar(&o.events, "events", false, "Mix the Kubernetes events about pods and their owners in.")
	f.BoolVar(&o.merge, "merge", false, "Order the lines of all containers by their time, within a window of 250 ms.")
	f.StringVar(&o.save, "save", "", "Write what is shown to this file too, without colors.")
	f.StringVar(&o.environment, "env", "", "Read an environment of kdev.yaml, from the cluster and the namespace that it has there. (-e is --exclude)")
	f.BoolVar(&o.past, "past", false, "Show the lines of this project that were kept on disk, without asking a cluster.")
	f.BoolVar(&o.noMask, "no-mask", false, "Show the values of the project's Secrets.")
	f.BoolVar(&o.previous, "previous", false, "Show the run before the current one of each container, and leave.")
	f.StringVar(&o.palette, "palette", "default", "Colors of pods: default (the terminal's own), okabe-ito or tol-light (for color-blind readers).")
}

// kubeFlags are kubectl's connection flags, hidden as in stern.
type kubeFlags struct {
	as, asUID             string
	asGroups              []string
	cacheDir              string
	certificateAuthority  string
	clientCertificate     string
	clientKey             string
	cluster               string
	disableCompression    bool
	insecure              bool
	requestTimeout        string
	server, tlsServerName string
	token, user           string
}

func (k *kubeFlags) add(f *pflag.FlagSet) {
	f.StringVar(&k.as, "as", "", "Username to impersonate for the operation.")
	f.StringArrayVar(&k.asGroups, "as-group", nil, "Group to impersonate for the operation, this flag can be repeated to specify multiple groups.")
	f.StringVar(&k.asUID, "as-uid", "", "UID to impersonate for the operation.")
	f.StringVar(&k.cacheDir, "cache-dir", "", "Default cache directory; accepted and not used.")
	f.StringVar(&k.certificateAuthority, "certificate-authority", "", "Path to a cert file for the certificate authority")
	f.StringVar(&k.clientCertificate, "client-certificate", "", "Path to a client certificate file for TLS")
	f.StringVar(&k.clientKey, "client-key", "", "Path to a client key file for TLS")
	f.StringVar(&k.cluster, "cluster", "", "The name of the kubeconfig cluster to use")
	f.BoolVar(&k.disableCompression, "disable-compression", false, "If true, opt-out of response compression for all requests to the server")
	f.BoolVar(&k.insecure, "insecure-skip-tls-verify", false, "If true, the server's certificate will not be checked for validity. This will make your HTTPS connections insecure")
	f.StringVar(&k.requestTimeout, "request-timeout", "0", "The length of time to wait before giving up on a single server request. Zero means don't timeout requests.")
	f.StringVar(&k.server, "server", "", "The address and port of the Kubernetes API server")
	f.StringVar(&k.tlsServerName, "tls-server-name", "", "Server name to use for server certificate validation. If it is not provided, the hostname used to contact the server is used")
	f.StringVar(&k.token, "token", "", "Bearer token for authentication to the API server")
	f.StringVar(&k.user, "user", "", "The name of the kubeconfig user to use")
	for _, name := range []string{"as", "as-group", "as-uid", "cache-dir", "certificate-authority", "client-certificate", "client-key", "cluster",
		"disable-compression", "insecure-skip-tls-verify", "request-timeout", "server", "tls-server-name", "token", "user"} {
		f.Lookup(name).Hidden = true
	}
}

// writeHidden lists the hidden flags.
func (o *logsOptions) writeHidden(cmd *cobra.Command) error {
	shown := pflag.NewFlagSet("", pflag.ContinueOnError)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			visible := *f
			visible.Hidden = false
			shown.AddFlag(&visible)
		}
	})
	_, err := fmt.Fprintf(o.env.Out, "The following options can also be used:\n%s", shown.FlagUsages())
	return err
}

// A sinceValue is a duration before now, or a time.
type sinceValue struct {
	text string
	ago  time.Duration
	at   time.Time
}

func (s *sinceValue) String() string { return s.text }

// Type is what the usage text calls the value.
func (s *sinceValue) Type() string { return "duration" }

// Set reads "5m", "0", "2026-01-02T15:04:05Z".
func (s *sinceValue) Set(text string) error {
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		if at.After(time.Now()) {
			return fmt.Errorf("%q lies in the future", text)
		}
		*s = sinceValue{text: text, at: at}
		return nil
	}
	ago, err := time.ParseDuration(text)
	if err != nil {
		return err
	}
	if ago < 0 {
		return fmt.Errorf("%q lies in the future", text)
	}
	*s = sinceValue{text: text, ago: ago}
	return nil
}
