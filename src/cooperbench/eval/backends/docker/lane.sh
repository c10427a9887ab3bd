#!/bin/sh
# The agent in a container: a POSIX shell that runs one command after the other, told by the harness over its standard
# input. The container's first process is one; commands that overlap get more of them, each by an exec of its own.
#
# usage: sh -c "$(cat lane.sh)" lane READY DIRECTORY TAG_NAME
#
# Prints READY and its process id, then evaluates line by line what it is told, until its standard input ends. A
# command's streams are the lane's own, so what a command prints goes straight to the harness; marks with a secret
# word, one on either stream, say where its output begins and ends. As the first process of a container the lane
# cannot be killed from inside, and it takes in the orphans. Only builtins are used besides the command: a lane must
# work where no process can be started any more.

exec 3>&1 4>&2 >/dev/null 2>&1
tag_name=$3
# shellcheck disable=SC2034  # for what is told
newline='
'

list() { # → $processes: all of them, as /proc/N
    set -- /proc/[0-9]*
    processes="$*"
}

begin() { # WORD
    list
    before=$processes
    printf '%s<%s\n' "$1" "$before" >&3
    printf '%s<\n' "$1" >&4
}

end() { # WORD STATUS
    printf '%s>%s %s\n' "$1" "$2" "$held" >&3
    printf '%s>\n' "$1" >&4
}

# Whether a process that was not there before has this lane's streams open: it would print into the next command's.
look_for_holders() { # → $held
    held=free
    list
    for process in $processes; do
        case " $before " in *" $process "*) continue ;; esac
        for open in "$process"/fd/*; do
            # Of another user's process, nothing but the number of its open files can be known.
            if [ "$open" -ef "/proc/$$/fd/3" ] || [ "$open" -ef "/proc/$$/fd/4" ] ||
                { [ -L "$open" ] && [ ! -e "$open" ]; }; then
                held=held
                return
            fi
        done
    done
}

# In a subshell in the foreground, for that is where a command's signals are as they should be.
run() { # WORD TAG DIRECTORY COMMAND…
    word=$1
    begin "$word"
    (
        export "$tag_name=$2"
        exec </dev/null >&3 2>&4 3>&- 4>&-
        CDPATH='' cd -- "$3" || exit 126
        unset OLDPWD
        shift 3
        exec "$@"
    )
    status=$?
    look_for_holders
    end "$word" "$status"
}

parent() { # PID → $parent
    parent=
    while read -r key value; do
        [ "$key" = PPid: ] && parent=$value && return
    done <"/proc/$1/status"
}

tagged() { # PID
    while IFS= read -r text || [ -n "$text" ]; do
        case $text in *"$tag_name=$tag"*) return 0 ;; esac
    done <"/proc/$1/environ"
    return 1
}

# Whether process $1 belongs to the command: it is younger, and was started by it. That is known of what bears its
# tag and of their descendants; where no other command runs, also of every orphan.
belongs() {
    case " $spare " in *" $1 "*) return 1 ;; esac
    case " $older " in *" /proc/$1 "*) return 1 ;; esac
    [ "$alone" = yes ] || ! tagged "$1" || return 0
    parent=$1
    while :; do
        parent "$parent"
        case " $found " in *" $parent "*) return 0 ;; esac
        case " $spare 0 1 " in *" $parent "*) [ "$alone" = yes ] && return 0 || return 1 ;; esac
        case " $older " in *" /proc/$parent "*) return 1 ;; esac
        [ -n "$parent" ] || return 1
    done
}

# Kill all that belongs to a command. Everything stands still meanwhile, so that nothing can fork or lose its parent;
# the search is repeated until it finds nothing new, and only then what was found is killed, and the rest goes on.
finish() { # WORD TAG ALONE OLDER SPARE
    tag=$2 alone=$3 older=$4 spare="$5 $$"
    begin "$1"
    kill -STOP -1
    found=' '
    eldest=
    news=yes
    while [ -n "$news" ]; do
        news=
        list
        for process in $processes; do
            pid=${process#/proc/}
            case "$found" in *" $pid "*) continue ;; esac
            belongs "$pid" || continue
            found="$found$pid "
            [ -n "$eldest" ] && [ "$eldest" -lt "$pid" ] || eldest=$pid
            news=yes
        done
    done
    kill_found
    kill -CONT -1
    held=free
    end "$1" 0
}

# The eldest comes last: as long as the container's first process waits for it, it takes in the others. Of very many
# each is waited for as long as a busy machine may need: while they fill the limit of processes, no command can start.
kill_found() {
    rounds=0
    read -r now _ </proc/uptime
    until=$((${now%.*} + 20))
    while [ "$rounds" -lt 200 ] || { [ "${#found}" -gt 400 ] && [ "${now%.*}" -lt "$until" ]; }; do
        read -r now _ </proc/uptime
        rounds=$((rounds + 1))
        left=
        for pid in $found; do
            [ "$pid" != "$eldest" ] && [ -d "/proc/$pid" ] || continue
            kill -KILL "$pid"
            left=yes
        done
        [ -n "$left" ] || break
    done
    [ -z "$eldest" ] || kill -KILL "$eldest"
}

if [ ! -d "$2" ] && ! mkdir -p -- "$2" 2>&4; then
    exit 1
fi
printf '%s%s\n' "$1" "$$" >&3
while IFS= read -r request; do
    eval "$request"
done
