package dockerfile

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/tree"
)

// writeFiles makes a context. A name that ends with a slash is a directory, a
// content that begins with "-> " a symbolic link.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "app")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		full := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, ok := strings.CutPrefix(text, "-> "); ok {
			err = os.Symlink(to, full)
		} else if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(full, 0o755)
		} else {
			err = os.WriteFile(full, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t *testing.T, dir string, opts Options) *Plan {
	t.Helper()
	opts.Context = dir
	if opts.Dockerfile == "" {
		opts.Dockerfile = filepath.Join(dir, "Dockerfile")
	}
	p, err := Load(opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// says is a verdict in one word: "sync /a /b", "rebuild:7", "nothing".
func says(v Verdict) string {
	switch v.Action {
	case Sync:
		return "sync " + strings.Join(v.Dests, " ")
	case Rebuild:
		return fmt.Sprintf("rebuild:%d", v.Line)
	}
	return "nothing"
}

func TestExplain(t *testing.T) {
	tests := []struct {
		name       string
		dockerfile string
		ignore     string
		files      string // besides those asked about
		opts       Options
		want       map[string]string
	}{
		{
			name: "node: consumed once is consumed for good",
			dockerfile: `FROM node:20-slim
				WORKDIR /app
				COPY package*.json ./
				RUN npm ci --omit=dev
				COPY . .
				CMD ["node", "server.js"]`,
			ignore: "node_modules\n*.md\n!KEEP.md\n",
			want: map[string]string{
				"package.json": "rebuild:4", "package-lock.json": "rebuild:4", "server.js": "sync /app/server.js",
				"public/index.html": "sync /app/public/index.html", "node_modules/x/index.js": "nothing",
				"README.md": "nothing", "KEEP.md": "sync /app/KEEP.md", "Dockerfile": "rebuild:0", ".dockerignore": "rebuild:0",
			},
		},
		{
			name: "python: install of names is harmless, of a file is not",
			dockerfile: `FROM python:3-slim
				WORKDIR /srv/app
				COPY early.py .
				RUN apt-get update && apt-get install -y --no-install-recommends curl && rm -rf /var/lib/apt/lists/*
				RUN pip install --no-cache-dir flask gunicorn==21.2
				COPY requirements.txt /tmp/
				RUN pip install -r /tmp/requirements.txt
				COPY late.py /srv/app`,
			want: map[string]string{"early.py": "rebuild:7", "requirements.txt": "rebuild:7", "late.py": "sync /srv/app/late.py"},
		},
		{
			name: "a file without a trailing slash goes into a known directory",
			dockerfile: `FROM debian
				WORKDIR /app
				COPY a.txt /app
				COPY b.txt /etc/app.conf
				COPY c.txt /usr/local/bin/tool
				COPY d.txt /opt/thing
				COPY e.txt /usr/share/nginx/html
				RUN mkdir -p /data/in
				COPY f.txt /data/in`,
			want: map[string]string{
				"a.txt": "sync /app/a.txt", "f.txt": "sync /data/in/f.txt",
				"d.txt": "rebuild:6",
			},
			files: "",
		},
		{
			name: "destinations",
			dockerfile: `FROM debian
				WORKDIR /app
				WORKDIR sub
				COPY a.txt .
				COPY b.txt ../b2.txt
				COPY c.txt /usr/local/bin/tool
				COPY dir /usr/share/nginx/html
				COPY one.html /usr/share/nginx/html
				COPY ["with space.txt", "/data/"]
				COPY glob*/ /g/
				COPY /abs.txt ./x/../abs2.txt`,
			files: "dir/ glob1/ glob2/",
			want: map[string]string{
				"a.txt": "sync /app/sub/a.txt", "b.txt": "sync /app/b2.txt", "c.txt": "sync /usr/local/bin/tool",
				"dir/i.html": "sync /usr/share/nginx/html/i.html", "one.html": "sync /usr/share/nginx/html/one.html",
				"with space.txt": "sync /data/with space.txt", "glob1/x": "sync /g/x", "glob2/y/z": "sync /g/y/z",
				"abs.txt": "sync /app/sub/abs2.txt", "other.txt": "nothing", "dir": "sync /usr/share/nginx/html",
			},
		},
		{
			name: "scratch has no directories of its own",
			dockerfile: `FROM scratch
				COPY server /bin
				COPY conf /etc/conf/
				COPY page.html .`,
			want: map[string]string{"server": "sync /bin", "conf": "sync /etc/conf/conf", "page.html": "sync /page.html"},
		},
		{
			name: "an unknown working directory",
			dockerfile: `FROM php:8-apache
				COPY index.php .
				COPY abs.php /var/www/html/
				COPY env.php $APACHE_ROOT/`,
			want: map[string]string{"index.php": "rebuild:2"},
		},
		{
			name: "a working directory that is told",
			dockerfile: `FROM php:8-apache
				COPY index.php .
				COPY env.php $SITE/x/`,
			opts: Options{Base: func(string) (Base, bool) {
				return Base{Workdir: "/var/www/html", Env: map[string]string{"SITE": "/site"}}, true
			}},
			want: map[string]string{"index.php": "sync /var/www/html/index.php", "env.php": "sync /site/x/env.php"},
		},
		{
			name: "multi-stage: compiled, and a chain of copies",
			dockerfile: `FROM golang:1.26 AS build
				WORKDIR /src
				COPY go.mod go.sum ./
				RUN go mod download
				COPY . .
				RUN go build -o /out/server .
				FROM busybox AS assets
				COPY web /web
				COPY web/special.css /web/css/special.css
				FROM scratch
				COPY --from=build /out/server /server
				COPY --from=assets /web/css /static/css/`,
			files: "web/css/",
			want: map[string]string{
				"go.mod": "rebuild:4", "main.go": "rebuild:6",
			},
		},
		{
			name: "what another stage made may lie over local files",
			dockerfile: `FROM node AS assets
				WORKDIR /src
				COPY package.json .
				RUN npm run build
				FROM node
				COPY . /app
				COPY tool /usr/local/bin/
				COPY site /site
				COPY --from=assets /src/dist /app/dist
				COPY --from=assets /src/index.html /site/
				COPY --from=golang:1 /usr/local/bin/gofmt /usr/local/bin/
				COPY last /app/dist/`,
			files: "site/",
			want: map[string]string{
				"dist/app.js": "rebuild:9", "server.js": "sync /app/server.js", "tool": "sync /app/tool /usr/local/bin/tool",
				"site/index.html": "sync /app/site/index.html", "site/b.html": "sync /app/site/b.html /site/b.html", "last": "sync /app/dist/last /app/last",
			},
		},
		{
			name: "a chain of copies without a RUN",
			dockerfile: `FROM busybox AS assets
				COPY web /web
				COPY web/special.css /web/css/special.css
				FROM debian AS unrelated
				COPY . /
				RUN make
				FROM scratch
				COPY --from=0 /web/css /static/css/
				COPY --from=assets /web/js/app.js /app.js`,
			files: "web/css/ web/js/ web/special.css",
			want: map[string]string{
				"web/css/a.css": "sync /static/css/a.css", "web/special.css": "sync /static/css/special.css",
				"web/js/app.js": "sync /app.js", "web/js/other.js": "nothing", "main.c": "nothing",
			},
		},
		{
			name: "FROM a stage inherits its files and its RUNs",
			dockerfile: `ARG BASE=node:20
				FROM $BASE AS base
				WORKDIR /app
				COPY lib lib
				FROM base AS deps
				COPY package.json .
				RUN npm install
				FROM base
				COPY src src
				RUN chmod -R a+rX /app && adduser -D app && echo done > /etc/done`,
			files: "lib/ src/",
			want:  map[string]string{"lib/a.js": "sync /app/lib/a.js", "package.json": "nothing", "src/b.js": "sync /app/src/b.js"},
		},
		{
			name: "a target before the last stage",
			dockerfile: `FROM node:20 AS dev
				WORKDIR /app
				COPY . .
				FROM dev AS prod
				RUN npm run build`,
			opts: Options{Target: "DEV"},
			want: map[string]string{"x.js": "sync /app/x.js"},
		},
		{
			name: "arguments and environment",
			dockerfile: `ARG DIR=src
				FROM debian
				ARG DIR
				ARG OTHER=here
				ENV HOME_DIR=/srv/${DIR}
				WORKDIR ${HOME_DIR}
				COPY ${DIR}/x.txt $OTHER/
				COPY y.txt ${UNSET:-/fallback}/y.txt
				COPY z.txt /$TARGETARCH/z.txt
				ARG TARGETARCH
				COPY w.txt /$TARGETARCH/w.txt`,
			opts:  Options{Args: map[string]string{"OTHER": "/there"}, Platform: "linux/arm64"},
			files: "src/x.txt",
			want: map[string]string{
				"src/x.txt": "sync /there/x.txt", "y.txt": "rebuild:8",
			},
		},
		{
			name: "TARGETARCH is a name like others once it is declared",
			dockerfile: `FROM debian
				ARG TARGETARCH
				ARG NOTHING
				COPY w.txt /$TARGETARCH/${NOTHING:-x}/`,
			opts: Options{Platform: "linux/arm64"},
			want: map[string]string{"w.txt": "sync /arm64/x/w.txt"},
		},
		{
			name: "what a RUN mounts it uses",
			dockerfile: `FROM node:20
				WORKDIR /app
				RUN --mount=type=bind,source=package.json,target=package.json --mount=type=cache,target=/root/.npm npm ci
				COPY . .`,
			want: map[string]string{"package.json": "rebuild:3", "index.js": "sync /app/index.js"},
		},
		{
			name: "ADD unpacks, fetches and copies",
			dockerfile: `FROM debian
				WORKDIR /x
				ADD https://example.com/a.tar.gz /opt/
				ADD data.tar.gz plain.txt /x/`,
			files: "data.tar.gz=\x1f\x8b",
			want:  map[string]string{"data.tar.gz": "rebuild:4", "plain.txt": "sync /x/plain.txt"},
		},
		{
			name: "removed and overwritten paths are used up, others are not",
			dockerfile: `FROM debian
				WORKDIR /app
				COPY . .
				RUN rm -rf tests && echo x >/app/version && ln -s /app/bin /usr/bin/app`,
			want: map[string]string{"tests/a.py": "rebuild:4", "version": "rebuild:4", "main.py": "sync /app/main.py"},
		},
		{
			name: "another file wins",
			dockerfile: `FROM debian
				WORKDIR /app
				COPY config/default.json config.json
				COPY config/dev.json config.json
				COPY a b /merged/`,
			files: "a/one=1 b/two=2 config/dev.json config/default.json",
			want: map[string]string{
				"config/default.json": "nothing", "config/dev.json": "sync /app/config.json",
				"a/one": "sync /merged/one", "b/two": "sync /merged/two",
			},
		},
		{
			name: "links, excludes, parents, heredocs",
			dockerfile: "FROM debian\nWORKDIR /app\nCOPY link.txt real.txt\nCOPY --exclude=*.log --exclude=tmp src ./src\n" +
				"COPY --parents lib/./deep/**/*.so /p/\nCOPY <<EOF conf.ini\nx\nEOF\n",
			files: "target.txt=1 link.txt=->target.txt src/ conf.ini",
			want: map[string]string{
				"target.txt": "sync /app/real.txt", "link.txt": "rebuild:3", "src/a.py": "sync /app/src/a.py", "src/b.log": "nothing",
				"src/tmp/c.py": "nothing", "lib/deep/x/y.so": "sync /p/deep/x/y.so", "lib/other.so": "nothing", "conf.ini": "nothing",
			},
		},
		{
			name: "a script that is not understood uses everything",
			dockerfile: `FROM debian
				COPY a.txt /a/
				RUN if true; then cat /a/a.txt; fi
				COPY b.txt /b/
				RUN ["mkdir", "-p", "/x"]
				RUN echo $(cat /b/b.txt)
				COPY c.txt /c/`,
			want: map[string]string{"a.txt": "rebuild:3", "b.txt": "rebuild:6", "c.txt": "sync /c/c.txt"},
		},
		{
			name: "ONBUILD of a stage runs in the stage that is FROM it",
			dockerfile: `FROM debian AS base
				WORKDIR /app
				ONBUILD COPY src /app/src
				FROM base
				COPY top.txt .`,
			files: "src/",
			want:  map[string]string{"src/a": "sync /app/src/a", "top.txt": "sync /app/top.txt"},
		},
		{
			name: "extensions of PHP are compiled from what lies in their folder",
			dockerfile: `FROM php:8-apache
				COPY mine /usr/src/php/ext/mine
				COPY index.php /var/www/html/
				RUN docker-php-ext-install pdo_mysql mine`,
			files: "mine/",
			want:  map[string]string{"mine/mine.c": "rebuild:4", "index.php": "sync /var/www/html/index.php"},
		},
		{
			name: "what ONBUILD of a pulled image reads",
			dockerfile: `# a comment
				FROM golang:onbuild
				COPY top.txt /etc/`,
			opts: Options{Base: func(string) (Base, bool) {
				return Base{OnBuild: []string{"COPY go.mod /src/", "RUN go mod download", "COPY site /site", "COPY relative ."}}, false
			}},
			files: "site/ relative",
			want:  map[string]string{"go.mod": "rebuild:2", "site/a": "sync /site/a", "relative": "rebuild:2", "top.txt": "sync /etc/top.txt", "other": "nothing"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{"Dockerfile": tt.dockerfile}
			if tt.ignore != "" {
				files[".dockerignore"] = tt.ignore
			}
			for name := range tt.want {
				if files[name] == "" {
					files[name] = "text of " + name
				}
			}
			for _, f := range strings.Fields(tt.files) {
				name, text, _ := strings.Cut(f, "=")
				files[name] = strings.ReplaceAll(text, "->", "-> ")
				if dir, ok := strings.CutSuffix(name, "/"); ok {
					delete(files, dir)
				}
			}
			dir := writeFiles(t, files)
			p := load(t, dir, tt.opts)
			for _, name := range slices.Sorted(maps.Keys(tt.want)) {
				v := p.Explain(name)
				if got := says(v); got != tt.want[name] {
					t.Errorf("%s: %s (%s), want %s", name, got, v.Why, tt.want[name])
				}
				if v.Why == "" {
					t.Errorf("%s: no reason", name)
				}
			}
			agree(t, dir, p)
		})
	}
}

// agree checks that Placements and Explain say the same about every file.
func agree(t *testing.T, dir string, p *Plan) {
	t.Helper()
	x, err := tree.Open(filepath.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	placements, err := p.Placements(context.Background(), x)
	if err != nil {
		t.Fatal(err)
	}
	want, got := map[string]string{}, map[string]string{}
	err = tree.Walk(context.Background(), x, "app", nil, func(e tree.Entry) error {
		if v := p.Explain(strings.TrimPrefix(e.Path, "app/")); v.Action == Sync && !e.IsDir() {
			for _, dest := range v.Dests {
				want[dest] = e.Path
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dest, pl := range placements {
		if !pl.Entry.IsDir() {
			got[dest] = pl.Local
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("Placements %v, Explain %v", got, want)
	}
}

func TestGone(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"Dockerfile": "FROM debian\nWORKDIR /app\nCOPY base/ over/ ./\nCOPY named.txt ./\n",
		"base/a.txt": "1", "over/a.txt": "2", "over/b.txt": "3", "named.txt": "4",
	})
	p := load(t, dir, Options{})
	for _, f := range []string{"over/b.txt", "named.txt"} {
		if err := os.Remove(filepath.Join(dir, f)); err != nil {
			t.Fatal(err)
		}
	}
	if got := says(p.Explain("over/b.txt")); got != "sync /app/b.txt" {
		t.Errorf("a removed file: %s", got)
	}
	if got := says(p.Explain("named.txt")); got != "rebuild:4" {
		t.Errorf("a removed file that COPY names: %s", got)
	}
}

func TestLoadErrors(t *testing.T) {
	tests := []struct{ name, dockerfile, target, code, where string }{
		{"missing", "", "", "dockerfile-missing", "app/Dockerfile"},
		{"comments only", "# x\n", "", "dockerfile-syntax", "app/Dockerfile:1"},
		{"empty", "\n", "", "dockerfile-syntax", "app/Dockerfile:1"},
		{"unknown instruction", "FROM a\n\nCOPPY x y\n", "", "dockerfile-syntax", "app/Dockerfile:3"},
		{"before FROM", "RUN x\nFROM a\n", "", "dockerfile-syntax", "app/Dockerfile:1"},
		{"bad flag", "FROM a\nCOPY --chwon=1 a b\n", "", "dockerfile-syntax", "app/Dockerfile:2"},
		{"no destination", "FROM a\nWORKDIR /\nCOPY a\n", "", "dockerfile-syntax", "app/Dockerfile:3"},
		{"target", "FROM a AS b\n", "c", "dockerfile-target", "app/Dockerfile"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{"x": ""}
			if tt.dockerfile != "" {
				files["Dockerfile"] = tt.dockerfile
			}
			dir := writeFiles(t, files)
			_, err := Load(Options{Context: dir, Dockerfile: filepath.Join(dir, "Dockerfile"), Target: tt.target})
			p := problem.As(err)
			if p == nil || p.Code != tt.code || p.Where != tt.where || p.Hint == "" {
				t.Fatalf("got %#v, want %s at %s", err, tt.code, tt.where)
			}
			if strings.Contains(p.Error(), "parse error on line") {
				t.Errorf("the place is said twice: %v", p)
			}
		})
	}
}

func TestSourcesAndBases(t *testing.T) {
	dir := writeFiles(t, map[string]string{"Dockerfile": `FROM golang:1.26 AS build
		COPY go.mod ./a/
		RUN --mount=type=bind,target=/src --mount=from=tools:1,target=/t make
		FROM unused:1 AS other
		COPY nothing /
		FROM scratch
		COPY --from=build /x /x
		COPY --from=nginx:1 /etc/nginx /etc/nginx
		COPY web/*.html /web/`})
	p := load(t, dir, Options{})
	if got, want := strings.Join(p.Sources(), " "), ". go.mod web/*.html"; got != want {
		t.Errorf("sources %q, want %q", got, want)
	}
	if got, want := strings.Join(p.Bases(), " "), "golang:1.26 nginx:1 tools:1"; got != want {
		t.Errorf("bases %q, want %q", got, want)
	}
}

func TestPlacementModeAndOwner(t *testing.T) {
	dir := writeFiles(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY --chmod=4755 --chown=7:8 run.sh /\nCOPY d /d\n", "run.sh": "x", "d/empty/": ""})
	x, err := tree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	all, err := load(t, dir, Options{}).Placements(context.Background(), x)
	if err != nil {
		t.Fatal(err)
	}
	run := all["/run.sh"]
	if run.Mode == nil || *run.Mode != os.ModeSetuid|0o755 || run.Owner != "7:8" || run.Local != "run.sh" {
		t.Errorf("run.sh: %+v", run)
	}
	p := load(t, dir, Options{})
	if v := p.Explain("run.sh"); len(v.Modes) != 1 || v.Modes["/run.sh"] != os.ModeSetuid|0o755 {
		t.Errorf("run.sh: %+v", v)
	}
	if v := p.Explain("d/new"); len(v.Modes) != 0 || len(v.Dests) != 1 {
		t.Errorf("d/new: %+v", v)
	}
	if !all["/d/empty"].Entry.IsDir() {
		t.Errorf("an empty directory is not listed: %v", all)
	}
}

func TestJudge(t *testing.T) {
	harmless := []string{
		"apt-get update && apt-get install -y --no-install-recommends curl ca-certificates && rm -rf /var/lib/apt/lists/*",
		"set -eux; apk add --no-cache --virtual .build-deps gcc; apk del .build-deps",
		"pip install --no-cache-dir --upgrade pip setuptools", "python3 -m pip install -U wheel",
		"npm install -g nodemon@3 @scope/tool", "corepack enable", "gem install bundler -v 2.4", "go install golang.org/x/tools/cmd/goimports@latest",
		"groupadd -r app && useradd -r -g app app", "chown -R app:app /app", "chmod +x /entry.sh", "mkdir -p a b", "ln -sf /a /b",
		"DEBIAN_FRONTEND=noninteractive apt-get install -y tzdata", "curl -fsSL https://x/y -o /usr/bin/y && chmod +x /usr/bin/y",
		"echo 'a b' >> /etc/x 2>&1", "apt-get update # a comment && cat x", "true \\\n && true", `echo "x y" | true`,
	}
	for _, s := range harmless {
		if j := judge(s, true, "/w"); j.reads != "" {
			t.Errorf("%q: reads by %q", s, j.reads)
		}
	}
	reading := []string{
		"npm ci", "npm install", "npm install -g .", "pip install -r requirements.txt", "pip install .", "pip install -e .", "pip install ./x.whl",
		"apt-get install -y ./x.deb", "make", "cat x", "curl -T x https://y", "curl -d @x https://y", "cp a b", "mv a b", "(true)", "echo `cat x`", `echo "$(cat x)"`,
		"curl https://x | sh", "if true; then true; fi", "true < x", "sh -c true", "go install .", "go build", "bundle install", "tar xf x", "ln a b", "install a b",
		"eval x", ". ./env", "yarn global", "gem install x.gem", "cargo install --path .", "pip install $PKGS", "true & make", "wget -i list",
		"python setup.py install", "echo \"unterminated",
	}
	for _, s := range reading {
		if j := judge(s, true, "/w"); j.reads == "" {
			t.Errorf("%q: taken for harmless", s)
		}
	}
	j := judge("rm -rf a /b/*.c $D && cd /x && rm y", true, "/w")
	if got, want := strings.Join(j.touches, " "), "/w/a /b / /"; got != want {
		t.Errorf("touches %q, want %q", got, want)
	}
}

func FuzzSplitScript(f *testing.F) {
	f.Add("apt-get update && x > /y 2>&1 'a b' \"c $d\" \\\n z # end")
	f.Fuzz(func(t *testing.T, s string) {
		judge(s, true, "/w")
		judge(s, false, "")
	})
}

func FuzzLoad(f *testing.F) {
	f.Add("FROM a AS b\nWORKDIR x\nCOPY --from=b . $c/\nADD x y\nRUN --mount=target=/z true\nONBUILD COPY a b", "src/x")
	f.Fuzz(func(t *testing.T, text, file string) {
		dir := writeFiles(t, map[string]string{"Dockerfile": text})
		p, err := Load(Options{Context: dir, Dockerfile: filepath.Join(dir, "Dockerfile")})
		if err != nil || strings.ContainsRune(file, 0) {
			return
		}
		if v := p.Explain(file); v.Action == Sync {
			for _, d := range v.Dests {
				if !strings.HasPrefix(d, "/") || filepath.Clean(d) != d {
					t.Fatalf("destination %q of %q", d, file)
				}
			}
		}
		p.Sources()
		p.Bases()
	})
}

// A file of no bytes has no line to name.
func TestNothingAtAll(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "Dockerfile")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Load(Options{Context: dir, Dockerfile: file})
	if p := problem.As(err); p == nil || p.Code != "dockerfile-syntax" || !strings.HasSuffix(p.Where, "Dockerfile") {
		t.Errorf("%v", err)
	}
}
