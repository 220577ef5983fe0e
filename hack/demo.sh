#!/usr/bin/env bash
# Brings examples/dockercoins up with bin/kdev and leaves `kdev up` running in
# the background: a forwarded port lives as long as the process that forwards
# it. `hack/demo.sh down` stops it and removes what it deployed.
#
# It waits until everything is ready and the page has answered, or until kdev
# has given up.
set -euo pipefail
cd "$(dirname "$0")/.."

kdev=$PWD/bin/kdev
state=$PWD/bin/demo
pidfile=$state/pid
log=$state/log
patience=30  # seconds from ready to an answer
starting=300 # seconds until kdev says that it is ready

# Whether the process of the pid file is still the kdev that we started.
running() {
    [ -s "$pidfile" ] && { tr '\0' ' ' <"/proc/$(<"$pidfile")/cmdline"; } 2>/dev/null | grep -q "^$kdev up "
}

# The URL that kdev told: it takes another port where 8080 is busy.
url() {
    grep -o 'http://localhost:[0-9]*' "$log" 2>/dev/null | head -n 1
}

# Whether the page's counters answer, which takes webui, redis and the network
# between them. Without curl, which a bare machine need not have.
answers() {
    local port answer
    port=$(url) || return 1
    port=${port##*:}
    answer=$( (exec 3<>"/dev/tcp/127.0.0.1/$port" && printf 'GET /json HTTP/1.0\r\n\r\n' >&3 && timeout 5 cat <&3) 2>/dev/null) || return 1
    [[ $answer == *'"hashes"'* ]]
}

stop() {
    if running; then
        kill -TERM "$(<"$pidfile")"
        while running; do sleep 0.1; done
    fi
    rm -f "$pidfile"
}

told() {
    cat <<END

DockerCoins answers at $(url)
  edit examples/dockercoins/webui/index.html and reload the page
  follow what kdev does:   tail -f bin/demo/log
  stop and remove it:      make demo-down
END
}

up() {
    if running && answers; then
        echo "kdev up is already running (process $(<"$pidfile"))"
        told
        return
    fi
    stop
    mkdir -p "$state"
    # To the end first, for the exit code: a build that fails, or a pod that does
    # not get ready, ends here with its cause.
    (cd examples/dockercoins && "$kdev" up --plain --until ready --no-ports)
    : >"$log"
    (cd examples/dockercoins && exec setsid "$kdev" up --plain) >"$log" 2>&1 </dev/null &
    local kdevpid=$! started=$SECONDS ready=
    echo "$kdevpid" >"$pidfile"
    tail -n +1 -f --pid="$kdevpid" "$log" &
    tailpid=$!
    # The tail must not outlive this script, whatever ends it.
    trap 'kill "$tailpid" 2>/dev/null || true' EXIT
    until answers; do
        if ! kill -0 "$kdevpid" 2>/dev/null; then
            local code=0
            wait "$kdevpid" || code=$?
            rm -f "$pidfile"
            echo "kdev up ended with exit code $code; its output is above and in bin/demo/log" >&2
            return "$((code == 0 ? 1 : code))"
        fi
        if [ -z "$ready" ] && grep -q 'everything is ready' "$log"; then
            ready=$SECONDS
        fi
        if [ -n "$ready" ] && ((SECONDS - ready > patience)); then
            echo "everything is ready, but the page has not answered for $patience s; see bin/demo/log; make demo-down stops it" >&2
            return 4
        fi
        if ((SECONDS - started > starting)); then
            echo "kdev up has not been ready for $starting s; see bin/demo/log; make demo-down stops it" >&2
            return 4
        fi
        sleep 0.2
    done
    told
}

down() {
    stop
    cd examples/dockercoins
    exec "$kdev" down
}

case ${1:-up} in
up) up ;;
down) down ;;
*)
    echo "usage: hack/demo.sh [up|down]" >&2
    exit 2
    ;;
esac
