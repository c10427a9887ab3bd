#!/bin/sh
# Kill every process of one command's: those that its tag, a variable, is in the environment of, and their descendants.
#
# usage: sh -c "$(cat hunt.sh kill.sh)" kill TAG [MAIN...]
#
# With MAIN, the words of the sandbox's main command, nothing else runs in it, and everything else in it goes too, however
# it hides: all but process 1, the main command if that is another, and this shell with its ancestors.

main=
words() { tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null; }

# The main command came before all others: of those that look like it, it has the lowest number.
find_main() {
    for entry in /proc/[0-9]*; do
        pid=${entry#/proc/}
        if [ "${main:-$pid}" -ge "$pid" ] && [ "$(words "$pid")" = "$1 " ]; then main=$pid; fi
    done
}

kill_all "$1"
shift
[ $# -gt 0 ] || exit 0
find_main "$*"
spared=" 1 ${main:-1} "
pid=$$
while [ "${pid:-0}" -gt 1 ]; do
    spared="$spared$pid "
    parent=
    while read -r key value; do [ "$key" != PPid: ] || parent=$value; done <"/proc/$pid/status"
    pid=$parent
done
ours() { case "$spared" in *" $1 "*) return 1 ;; esac }
kill_all ''
