#!/bin/sh
# What relgrad asks a host for, in the folder of one sweep or search.
# Usage: host.sh list FILE RECORDS | start PART PROGRAM | stop
cd "$(dirname "$0")" || exit 3

# Whether the task of a part is alive. A number that another program has by now is not it.
is_running() {
    id=$(cat "part-$1.pid" 2>/dev/null) && kill -0 "$id" 2>/dev/null || return 1
    if command -v ps >/dev/null; then
        ps -o args= -p "$id" | grep -qE "(part-|task\.sh )$1( |\$)"
    fi
}

parts() {
    for file in part-*.pid; do
        if [ -f "$file" ]; then
            file=${file#part-}
            echo "${file%.pid}"
        fi
    done
}

# Of a file, or of the JSON files of a folder.
bytes() {
    if [ -d "$1" ]; then cat "$1"/*.json 2>/dev/null | wc -c; elif [ -f "$1" ]; then wc -c <"$1"; else echo 0; fi
}

stop() {
    for part in $(parts); do
        if is_running "$part"; then kill "$(cat "part-$part.pid")"; fi
    done
}

case $1 in
    # A line a part: its number, its state, the bytes of its files.
    list)
        for part in $(parts); do
            state=ended
            if is_running "$part"; then state=running; fi
            # Without quotes: some systems print spaces before a number.
            echo "$part" $state $(bytes "part-$part/$2") $(bytes "part-$part/$3") $(bytes "part-$part.log")
        done
        ;;
    # One task at a time: what an earlier one left here ends.
    start)
        if is_running "$2"; then exit 0; fi
        stop
        nohup sh task.sh "$2" "$3" </dev/null >/dev/null 2>&1 &
        echo $! >"part-$2.pid"
        ;;
    stop)
        stop
        ;;
esac
