#!/usr/bin/env bash
# Takes the pictures of docs/pictures from a real run of examples/dockercoins at
# the dashboard, in a terminal of tmux: `make pictures`. It uses the cluster that
# `bin/kdev up` would use, and removes the example from it again.
set -euo pipefail
cd "$(dirname "$0")/.."

kdev=$PWD/bin/kdev
out=$PWD/docs/pictures
patience=180 # seconds for anything to come on the screen
work=$(mktemp -d)
cp -r examples/dockercoins "$work/dockercoins"
project=$work/dockercoins
tmux=(tmux -S "$work/tmux")
mkdir -p "$out"
go build -o "$work/picture" ./hack/picture

finish() {
    "${tmux[@]}" kill-server 2>/dev/null || true
    (cd "$project" && "$kdev" down --volumes >/dev/null 2>&1) || true
    rm -rf "$work"
}
trap finish EXIT

screen() { "${tmux[@]}" capture-pane -p; }
press() { "${tmux[@]}" send-keys "$@"; }

# Waits until a regular expression matches a row of the screen.
sees() {
    local end=$((SECONDS + patience))
    until screen | grep -qE "$1"; do
        if ((SECONDS > end)); then
            echo "pictures: $1 did not come on the screen:" >&2
            screen >&2
            exit 1
        fi
        sleep 0.05
    done
}

# Presses Escape, which with a key close behind it would be another key, and waits
# until a regular expression matches no row any more.
escape() {
    local end=$((SECONDS + patience))
    press Escape
    while screen | grep -qE "$1"; do
        if ((SECONDS > end)); then
            echo "pictures: $1 stays on the screen:" >&2
            screen >&2
            exit 1
        fi
        sleep 0.05
    done
}

# Draws the screen as it is now, with the spaces at the end of a row: the selected one is
# coloured to its end.
shoot() {
    "${tmux[@]}" capture-pane -e -N -p | "$work/picture" -title "$2" >"$out/$1.svg"
    echo "docs/pictures/$1.svg"
}

# Replaces text in a file of the project as an editor does.
edit() {
    sed "s/$2/$3/" "$project/$1" >"$work/edited"
    cat "$work/edited" >"$project/$1"
}

printf 'set -g default-terminal tmux-256color\nset -g status off\nset -sg escape-time 0\n' >"$work/tmux.conf"
"${tmux[@]}" -f "$work/tmux.conf" new-session -d -x 120 -y 34 -c "$project" \
    env -u CI -u NO_COLOR XDG_STATE_HOME="$work/state" bash --norc --noprofile
press "$kdev up" Enter
sees '● ready 5/5'

for i in 1 2 3 4 5 6 7 8; do
    edit webui/index.html '<h1>.*<\/h1>' "<h1>DockerCoins, $i<\\/h1>"
    sees 'webui index.html saved .* = [0-9]+ ms'
    sleep 0.4
done
press g Down Down # webui
sleep 3           # some lines to look at
shoot dashboard "kdev up: five services, the way of the last change, lines of all pods"

edit webui/package.json '"private": true' '"description": "a picture", "private": true'
sees '\+1 old'
sees '▸(pulled|started|ready)'
shoot rollout "a new image on its way: the old pod and the stages of the new one"
sees '● ready 5/5'

printf 'RUN exit 7\n' >>"$project/worker/Dockerfile"
sees '✗ failed 1'
press g Down Down Down 5 # worker
sees 'worker/Dockerfile:5'
shoot problem "a build that failed, with its line, its output and what to do"
edit worker/Dockerfile '^RUN exit 7$' ''
sees '● ready 5/5'

press 1 / hashes Enter
sees '/hashes/ [0-9,]+'
shoot search "a search in the lines of all pods"
escape '/hashes/'
press ?
sees 'keys · any other key closes'
shoot help "the keys"
escape 'any other key closes'
press q
sees 'left running'
