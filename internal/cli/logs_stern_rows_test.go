package cli

// one reads the containers of one pod one after the other, all lines of them.
func one(args ...string) []string {
	return append([]string{"--no-follow", "--max-log-requests=1", "--since=876000h", "--only-log-lines"}, args...)
}

// usage is a refusal before any cluster is asked: exit code 2 where stern has 1.
func usage(text string) *outcome { return &outcome{code: 2, stderr: text} }

const webOf = "web-5d9c7bd6f8-x2x4j"

// conformance is the table of stern's command: one row for each line of its flags,
// arguments, outputs, template functions and errors.
var conformance = []row{
	// The query.
	{name: "query regexp", args: one("web")},
	{name: "query dot", args: one("."), unordered: true},
	{name: "query anchored", args: one("^db-0$")},
	{name: "query that matches nothing", args: one("nothing")},
	{name: "query bad regexp", args: one("("), want: usage("failed to compile regular expression from query"), why: 1},
	{name: "no query", args: one(), want: usage("one of pod-query, --selector, --field-selector, --prompt or --stdin is required"), why: 1},
	{name: "empty query with selector", args: one("-l", "app=db")},
	{name: "pod/NAME", args: one("pod/db-0")},
	{name: "po/NAME", args: one("po/db-0")},
	{name: "pods/NAME", args: one("pods/db-0")},
	{name: "deployment/NAME", args: one("deployment/web")},
	{name: "deploy/NAME", args: one("deploy/web")},
	{name: "replicaset/NAME", args: one("rs/" + "web-5d9c7bd6f8")},
	{name: "service/NAME", args: one("svc/web")},
	{name: "service without selector", args: one("svc/external"), want: &outcome{code: 1, stderr: "has no labels to select"}, why: 1},
	{name: "job/NAME", args: one("job/report-28")},
	{name: "cronjob/NAME", args: one("cronjob/report"), want: &outcome{stdout: "report-28-abcde report reported\n"}, why: 3},
	{name: "resource that is missing", args: one("deploy/nobody")},
	{name: "resource of an unknown kind", args: one("widget/x"), want: usage("resource type widget is not supported"), why: 1},
	{name: "resource of a wrong form", args: one("deploy/web/x"), want: usage(`resource must be specified in the form "<resource>/<name>"`), why: 1},
	{name: "selector with resource", args: one("-l", "app=web", "deploy/web"), want: usage("--selector and the <resource>/<name> query cannot be set at the same time"), why: 1},
	{name: "selector with regexp", args: one("-l", "app=web", "x2x4j")},
	{name: "several queries", args: one("db-0", "report"), want: &outcome{stdout: "db-0 db db ready\ndb-0 db db ERROR disk\ndb-0 db checkpoint\nreport-28-abcde report reported\n"}, why: 4},

	// Where.
	{name: "-A", args: one("-A", "web-")},
	{name: "--all-namespaces overrides -n", args: one("--all-namespaces", "-n", "other", "web-")},
	{name: "-n", args: one("-n", "other", "web")},
	{name: "-n twice", args: one("-n", "other", "-n", "default", "-c", "^web$", "web")},
	{name: "-n comma", args: one("-n", "other,default", "-c", "^web$", "web")},
	{name: "--context", args: one("--context", "fake", "db")},
	{name: "--context unknown", args: one("--context", "nope", "db"), want: &outcome{code: 2, stderr: `there is no context "nope"`}, why: 1},
	{name: "--selector", args: one("--selector", "app in (db,crash)"), unordered: true},
	{name: "--selector bad", args: one("-l", "app in"), want: usage("failed to parse selector as label selector"), why: 1},
	{name: "--field-selector", args: one("--field-selector", "metadata.name=db-0")},
	{name: "--field-selector bad", args: one("--field-selector", "a==b==c,,d"), want: usage("failed to parse selector as field selector"), why: 1},
	{name: "--node", args: one("--node", "node-2", ".")},
	{name: "--node with --field-selector", args: one("--node", "node-2", "--field-selector", "metadata.name=db-0")},
	{name: "--exclude-pod", args: one("--exclude-pod", "web", "--exclude-pod", "crash", "."), unordered: true},
	{name: "--container", args: one("-c", "prox", "web")},
	{name: "--container bad", args: one("-c", "(", "web"), want: usage("failed to compile regular expression for container query"), why: 1},
	{name: "--exclude-container", args: one("-E", "proxy", "--exclude-container", "migrate", "web")},
	{name: "--init-containers", args: one("--init-containers=false", "web")},
	{name: "--ephemeral-containers", args: one("--ephemeral-containers=false", "web")},
	{name: "--container-state running", args: one("--container-state", "running", "web")},
	{name: "--container-state terminated", args: one("--container-state", "terminated", ".")},
	{name: "--container-state waiting", args: one("--container-state", "waiting", ".")},
	{name: "--container-state list", args: one("--container-state", "waiting,terminated", "."), unordered: true},
	{name: "--container-state bad", args: one("--container-state", "x", "."), want: usage("containerState should be one of 'running', 'waiting', 'terminated', or 'all'"), why: 1},
	{name: "--condition", args: one("--condition", "ready=false", ".")},
	{name: "--condition default value", args: one("--condition", "READY", "-c", "^web$", ".")},
	{name: "--condition bad name", args: one("--condition", "x", "."), want: usage("condition should be one of 'ContainersReady', 'Initialized', 'Ready'"), why: 1},
	{name: "--condition bad value", args: one("--condition", "ready=x", "."), want: usage("condition value should be one of 'True', 'False', 'Unknown'"), why: 1},

	// From where, how far.
	{name: "--tail", args: one("--tail", "1", "web")},
	{name: "--tail with --since", args: one("--tail=2", "db")},
	{name: "--since too short", args: []string{"--no-follow", "--max-log-requests=1", "--only-log-lines", "--since", "1s", "db"}},
	{name: "--since 0", args: []string{"--no-follow", "--max-log-requests=1", "--only-log-lines", "--since", "0", "-i", "ready", "db"}, want: &outcome{stdout: "db-0 db db ready\n"}, why: 5},
	{name: "--since bad", args: one("--since", "x", "db"), want: &outcome{code: 2, stderr: "invalid argument"}, why: 1},
	{name: "--no-follow with --tail=0", args: one("--tail=0", "db"), want: usage("--no-follow cannot be used with --tail=0"), why: 1},
	{name: "--max-log-requests", args: []string{"--no-follow", "--max-log-requests=2", "--since=876000h", "--only-log-lines", "web"}, unordered: true},
	{name: "--qps and --burst", args: one("--qps=100", "--burst=10", "db")},
	{name: "--qps=-1", args: one("--qps=-1", "db")},

	// Which lines.
	{name: "--include", args: one("-i", "ERROR", "web|db"), unordered: true},
	{name: "--include twice", args: one("-i", "ERROR", "--include", "GET", "web")},
	{name: "--include regexp", args: one("-i", "GET .* [45][0-9]{2}", "web")},
	{name: "--include bad", args: one("-i", "(", "web"), want: usage("failed to compile regular expression for inclusion filter"), why: 1},
	{name: "--exclude", args: one("-e", "GET", "web")},
	{name: "--exclude before --include", args: one("-e", "404", "-i", "GET", "web")},
	{name: "--exclude bad", args: one("-e", "(", "web"), want: usage("failed to compile regular expression for exclusion filter"), why: 1},
	{name: "--highlight without color", args: one("-H", "GET", "web")},
	{name: "--highlight bad", args: one("-H", "(", "web"), want: usage("failed to compile regular expression for highlight filter"), why: 1},
	{name: "--exclude-pod bad", args: one("--exclude-pod", "(", "web"), want: usage("failed to compile regular expression for excluded pod query"), why: 1},
	{name: "--exclude-container bad", args: one("-E", "(", "web"), want: usage("failed to compile regular expression for excluded container query"), why: 1},

	// Outputs.
	{name: "-o default", args: one("-o", "default", "web")},
	{name: "-o default timestamps", args: one("-t", "--timezone=UTC", "web")},
	{name: "-o raw", args: one("-o", "raw", "web")},
	{name: "-o raw timestamps", args: one("-o", "raw", "-t", "--timezone=UTC", "web")},
	{name: "-o json", args: one("-o", "json", "web")},
	{name: "-o json timestamps", args: one("-o", "json", "-t", "--timezone=UTC", "web")},
	{name: "-o extjson", args: one("-o", "extjson", "web")},
	{name: "-o extjson -A", args: one("-o", "extjson", "-A", "web")},
	{name: "-o ppextjson", args: one("-o", "ppextjson", "web")},
	{name: "-o ppextjson -A", args: one("-o", "ppextjson", "-A", "db")},
	{name: "-o bad", args: one("-o", "x", "web"), want: usage("output should be one of 'default', 'raw', 'json', 'extjson', 'ppextjson'"), why: 1},
	{name: "--timestamps short", args: one("--timestamps=short", "--timezone=UTC", "db")},
	{name: "--timestamps default", args: one("--timestamps=default", "--timezone=Asia/Tokyo", "db")},
	{name: "--timestamps bad", args: one("--timestamps=x", "db"), want: usage("timestamps should be one of 'default', 'short'"), why: 1},
	{name: "--timezone bad", args: one("--timezone=Nowhere/X", "db"), want: usage("unknown time zone Nowhere/X"), why: 1},

	// Templates: fields and functions.
	{name: "--template", args: one("--template", "{{.Message}}|{{.NodeName}}|{{.Namespace}}|{{.PodName}}|{{.ContainerName}}|{{.Labels}}|{{.Annotations}}|{{.Timestamp}}\n", "web")},
	{name: "--template wins over -o", args: one("-o", "json", "--template", "{{.PodName}}\n", "db")},
	{name: "--template without newline", args: one("--template", "{{.Message}};", "db")},
	{name: "--template bad", args: one("--template", "{{x", "db"), want: usage("unable to parse template"), why: 1},
	{name: "--template-file", args: one("--template", "no", "-T", "$DIR/t.tpl", "db"), files: map[string]string{"t.tpl": "file {{.Message}}\n"}},
	{name: "--template-file missing", args: one("-T", "$DIR/none", "db"), want: &outcome{code: 2, stderr: "no such file"}, why: 1},
	{name: "template timestamp", args: one("-t", "--timezone=UTC", "--template", "{{.Timestamp}} {{.Message}}\n", "db")},
	{name: "function color", args: one("--color=always", "--template", `{{color .PodColor "x"}}`+"\n", "--pod-colors", "91", "db")},
	{name: "function colorCustom", args: one("--color=always", "--template", `{{colorCustom .Message 31 1 4}}`+"\n", "db")},
	{name: "functions of fixed colors", args: one("--color=always", "--template", `{{colorBlack "a"}}{{colorRed "b"}}{{colorGreen "c"}}{{colorYellow "d"}}{{colorBlue "e"}}{{colorMagenta "f"}}{{colorCyan "g"}}{{colorWhite "h"}}{{colorRed "%d!" 5}}`+"\n", "db")},
	{name: "functions of colors without color", args: one("--color=never", "--template", `{{colorRed "b"}}{{colorCustom "x" 1}}{{color .PodColor "p"}}{{levelColor "info"}}`+"\n", "db")},
	{name: "function json", args: one("--template", "{{json .Labels}} {{json .Message}}\n", "web")},
	{name: "function parseJSON", args: one("-i", "listening", "--template", "{{with parseJSON .Message}}{{.msg}} {{.n}} {{.ts}}{{end}}\n", "-c", "^web$", "web")},
	{name: "function parseJSON on text", args: one("--template", "{{with parseJSON .Message}}{{.msg}}{{end}}\n", "-c", "^web$", "web"), want: &outcome{stdout: "listening <8080>\n" + webOf + " web GET / 200\n" + webOf + " web GET /missing 404 ERROR\n" + webOf + " web quote \" and \\ and tab\tend\n", stderr: "expanding template failed"}, why: 6},
	{name: "function tryParseJSON", args: one("--template", "{{with $d := tryParseJSON .Message}}{{$d.msg}} {{$d.n}} {{$d.ts}}{{else}}-{{.Message}}{{end}}\n", "web")},
	{name: "function extractJSONParts", args: one("-i", "listening", "--template", `{{extractJSONParts .Message "msg" "level" "none"}}`+"\n", "web")},
	{name: "function tryExtractJSONParts", args: one("--template", `{{tryExtractJSONParts .Message "msg" "level"}}`+"\n", "web")},
	{name: "function extjson", args: one("--template", "{{extjson .Message}}\n", "web")},
	{name: "function prettyJSON", args: one("--template", "{{prettyJSON .Message}}\n{{prettyJSON (tryParseJSON .Message)}}\n{{prettyJSON 5}}\n", "web")},
	{name: "function toRFC3339Nano", args: one("-i", "listening", "--template", `{{with $d := tryParseJSON .Message}}{{toRFC3339Nano $d.ts}}{{end}} {{toRFC3339Nano "1700000000.5"}} {{toRFC3339Nano "2024-01-02 03:04:05"}} {{toRFC3339Nano "x"}}`+"\n", "web"), env: []string{"TZ=UTC"}},
	{name: "function toUTC", args: one("-i", "listening", "--template", `{{toUTC 1700000000}} {{toUTC "2024-01-02T03:04:05+02:00"}} {{toUTC "Tue, 02 Jan 2024 03:04:05 MST"}}`+"\n", "web")},
	{name: "function toTimestamp", args: one("-i", "listening", "--template", `{{toTimestamp 1700000000 "2006-01-02 15:04 MST"}} {{toTimestamp "2024-01-02" "Jan 2 2006 MST" "US/Eastern"}} {{toTimestamp "1700000000.123456789" "15:04:05.000000000"}}`+"\n", "web")},
	{name: "function levelColor", args: one("--color=always", "-c", "^db$", "--tail=1", "--template", `{{range $l := (parseJSON "{\"l\":[\"debug\",\"INFO\",\"warn\",\"warning\",\"Error\",\"dpanic\",\"panic\",\"fatal\",\"critical\",\"other\",5]}").l}}{{levelColor $l}} {{end}}`+"\n", "db")},
	{name: "function bunyanLevelColor", args: one("--color=always", "-c", "^db$", "--tail=1", "--template", `{{range $l := (parseJSON "{\"l\":[10,20,30,40,50,60,100,\"x\"]}").l}}{{bunyanLevelColor $l}} {{end}}{{range $l := (tryParseJSON "{\"l\":[10,30,40,50,60,100]}").l}}{{bunyanLevelColor $l}} {{end}}`+"\n", "db")},

	// Colours.
	{name: "--color bad", args: one("--color", "x", "db"), want: usage("color should be one of 'always', 'never', or 'auto'"), why: 1},
	{name: "--color never", args: one("--color", "never", "db")},
	{name: "--pod-colors", args: one("--color=always", "--pod-colors", "38;2;255;97;136", "db")},
	{name: "--pod-colors with attributes", args: one("--color=always", "--pod-colors", "31;4", "-i", "ERROR", "-H", "disk", "db")},
	{name: "--container-colors", args: one("--color=always", "--pod-colors", "91", "--container-colors", "32", "db")},
	{name: "--container-colors of other length", args: one("--pod-colors", "91,92", "--container-colors", "32", "db"), want: usage("pod-colors and container-colors must have the same length"), why: 1},
	{name: "--container-colors alone", args: one("--container-colors", "32", "db"), want: usage("pod-colors must not be empty"), why: 1},
	{name: "--diff-container", args: one("--color=always", "--pod-colors", "91", "--container-colors", "32", "-d", "db")},
	{name: "NO_COLOR", args: one("db"), env: []string{"NO_COLOR=yes"}},

	// Standard input.
	{name: "--stdin", args: []string{"--stdin"}, stdin: "one\ntwo\nthree"},
	{name: "--stdin include", args: []string{"--stdin", "-i", "t", "-o", "raw"}, stdin: "one\ntwo\nthree\n"},
	{name: "--stdin exclude", args: []string{"--stdin", "-e", "t", "-o", "raw"}, stdin: "one\ntwo\nthree\n"},
	{name: "--stdin json", args: []string{"--stdin", "-o", "json", "-t"}, stdin: "one\n"},
	{name: "--stdin template", args: []string{"--stdin", "--template", "[{{.Message}}]"}, stdin: "one\ntwo\n"},
	{name: "--stdin highlight", args: []string{"--stdin", "--color=always", "-o", "raw", "-H", "w"}, stdin: "one\ntwo\n"},

	// Configuration file.
	{name: "--config", args: one("--config", "$DIR/c.yaml", "web"), files: map[string]string{"c.yaml": "output: raw\ninclude: [GET]\ntail: 3\n"}},
	{name: "--config flag wins", args: one("--config", "$DIR/c.yaml", "-o", "default", "db"), files: map[string]string{"c.yaml": "output: raw\n"}},
	{name: "--config missing", args: one("--config", "$DIR/none.yaml", "db"), want: &outcome{code: 2, stderr: "no such file"}, why: 1},
	{name: "--config empty", args: one("--config", "$DIR/c.yaml", "db"), files: map[string]string{"c.yaml": ""}},
	{name: "--config unknown key", args: one("--config", "$DIR/c.yaml", "db"), files: map[string]string{"c.yaml": "nonsense: 1\n"}},
	{name: "--config bad value", args: one("--config", "$DIR/c.yaml", "db"), files: map[string]string{"c.yaml": "tail: many\n"}, want: &outcome{code: 2, stderr: `invalid value many for "tail" in the config file`}, why: 1},
	{name: "STERNCONFIG wins over --config", args: one("--config", "$DIR/none.yaml", "db"), env: []string{"STERNCONFIG=$DIR/c.yaml"}, files: map[string]string{"c.yaml": "output: raw\n"}},

	// Itself.
	{name: "--completion bad", args: []string{"--completion", "x"}, want: usage(`unsupported shell type: "x"`), why: 1},
	{name: "flag that does not exist", args: []string{"--nonsense"}, want: &outcome{code: 2, stderr: "unknown flag: --nonsense"}, why: 1},
}
