#!/bin/sh
# coop: work together with the other agents of this trial. Text is data: it goes into a file, never through a shell.
#
# A call writes one request file and waits for the answer. The harness fetches the one and leaves the other
# (relay.sh); that is why no network is needed. Both directions have a named pipe as a doorbell, so nobody polls:
# a pipe is opened for reading and writing at once, which never blocks and keeps what is written until it is read.
# A short answer comes through the pipe itself.

spool=/var/spool/coop
limit=65536            # bytes a text may have
bundle_limit=16777216  # bytes a push may have
patience=120           # seconds the harness may take beyond what was asked for
branch=refs/coop/push  # what a bundle holds

# Whether a part is switched on in this run; the harness refuses what is not, and nobody is told of it.
has() { # PART
    [ -f "$spool/means" ] || return 0
    while read -r part; do
        [ "$part" != "$1" ] || return 0
    done <"$spool/means"
    return 1
}

# Standard input, on standard output: an image may have nothing but a shell.
lines() {
    while IFS= read -r line; do printf '%s\n' "$line"; done
}

usage() {
    echo "coop: work together with the other agents on this task"
    echo
    has messages && lines <<'END'
  coop send AGENT TEXT          leave a message for one agent
  coop broadcast TEXT           leave a message for all of them
  coop inbox [--wait SECONDS]   print your unread messages (each is shown once), waiting for the first
END
    has ask && lines <<'END'
  coop ask AGENT TEXT [--wait SECONDS]
                                send a question and wait for what AGENT then sends to you (default: 60 seconds)
END
    has tasks && lines <<'END'
  coop task list                the team's task list
  coop task add TITLE
  coop task claim [NUMBER]      make a task yours: this one, or the first open one; only one agent gets it
  coop task update NUMBER TEXT  say something about a task
  coop task done NUMBER [TEXT]
END
    has notes && lines <<'END'
  coop note [show]              the team's scratchpad
  coop note append TEXT
  coop note replace TEXT
END
    has git && lines <<'END'
  coop push                     offer the commits of your current branch to your teammates
  coop fetch [AGENT]            get what teammates pushed, as team/AGENT: git diff HEAD...team/agent2,
                                git merge team/agent2; nobody else's repository is written to
END
    lines <<'END'
  coop who                      who works here, and who has finished
END
    has mcp && lines <<'END'
  coop mcp                      the same as an MCP server on standard input and output (needs python3)
END
    lines <<'END'

TEXT "-" reads standard input.
Exit code: 0 done; 1 refused, the reason is printed; 2 wrong usage; 3 nothing came in time; 4 no answer at all.
END
}

wrong() {
    printf 'coop: %s (coop --help)\n' "$1" >&2
    exit 2
}

refuse() {
    printf 'coop: %s\n' "$1" >&2
    exit 1
}

# Sends what is in $work/text and waits; leaves the answer's exit code in $code and the answer in $work/reply.
ask() { # SECONDS the harness may wait
    request=${work##*/}
    { printf '%s ' "$request" && base64 <"$work/text" | tr -d '\n' && echo; } >"$work/request" || exit 4
    mkfifo "$work/bell" || exit 4
    exec 4<>"$work/bell"
    echo $$ >"$work/pid"
    # A link is made in one step: a request is seen whole or not at all.
    ln -s "$work/request" "$spool/ready/$request" || exit 4
    if [ -p "$spool/bell" ]; then echo 1<>"$spool/bell"; fi
    if timeout 1 true 2>/dev/null; then
        answer=$(timeout "$(($1 + patience))" head -n 1 <&4)
    else
        read -r answer <&4
    fi
    case $answer in
    '' | gone)
        echo "coop: no answer from the harness (${answer:-none})" >&2
        exit 4
        ;;
    file) ;; # it is too long for a pipe, and in place
    *) printf '%s' "$answer" | base64 -d >"$work/reply" || exit 4 ;;
    esac
    read -r code <"$work/reply"
}

# Prints the answer; ends the program with its exit code.
show() {
    case $code in
    0) tail -n +2 "$work/reply" ;;
    1 | 2 | 3) tail -n +2 "$work/reply" >&2 ;;
    *) code=4 ;;
    esac
    exit "$code"
}

# Writes the request: one line that says what, then the text as it is.
compose() { # LINE [TEXT]
    for program in base64 cat head ln mkfifo mktemp rm tail tr wc; do
        command -v "$program" >/dev/null || refuse "this image has no $program, which coop needs"
    done
    work=$(mktemp -d "$spool/work/XXXXXXXXXX") || {
        echo "coop: no bus in this sandbox: $spool/work cannot be written" >&2
        exit 4
    }
    # On EXIT only: a trap for a signal would wait for the pipe to be read. What a killed call leaves, relay.sh removes.
    trap 'rm -rf "$work"' EXIT
    printf '%s\n' "$1" >"$work/text"
    [ $# -eq 2 ] || return 0
    if [ "$2" = - ]; then cat; else printf '%s' "$2"; fi >>"$work/text"
    size=$(($(wc -c <"$work/text") - ${#1} - 1))
    [ "$size" -le "$limit" ] || wrong "the text has $size bytes, $limit are allowed"
    [ "$size" -gt 0 ] || wrong "the text is empty"
}

call() { # LINE [TEXT]
    compose "$@"
    ask 0
    show
}

an_agent() {
    case $1 in
    '' | *[!A-Za-z0-9_.-]*) wrong "'$1' cannot be an agent's name" ;;
    esac
}

# Leaves in $number what $1 says, without leading zeros: $((010)) is 8.
a_number() { # WORD WHAT
    case $1 in
    '' | *[!0-9]* | ???????*) wrong "'$1' is not $2" ;;
    esac
    number=${1#"${1%%[!0]*}"}
    number=${number:-0}
}

task() {
    verb=${1-}
    [ $# -eq 0 ] || shift
    case $verb:$# in
    list:0 | claim:0) call "task $verb" ;;
    add:1) call "task add" "$1" ;;
    claim:1 | done:1 | update:2 | done:2)
        a_number "$1" "a task's number"
        if [ $# -eq 2 ]; then call "task $verb $number" "$2"; else call "task $verb $number"; fi
        ;;
    *) wrong "task takes list, add TITLE, claim [NUMBER], update NUMBER TEXT or done NUMBER [TEXT]" ;;
    esac
}

note() {
    case ${1-show}:$# in
    show:0 | show:1) call "note show" ;;
    append:2 | replace:2) call "note $1" "$2" ;;
    *) wrong "note takes show, append TEXT or replace TEXT" ;;
    esac
}

in_repository() {
    command -v git >/dev/null || refuse "there is no git in this sandbox"
    git rev-parse --verify -q 'HEAD^{commit}' >/dev/null || refuse "no git repository with a commit here: $(pwd)"
}

push() {
    in_repository
    base=$(cat "$spool/base") || refuse "push and fetch are switched off in this run"
    ahead=$(git rev-list --count "$base..HEAD") || refuse "the commit you started from is gone"
    [ "$ahead" -gt 0 ] || refuse "nothing to push: no commit since you started; git add and git commit first"
    compose push
    # A bundle's branch must be one of the repository's. No hook of it is asked.
    { git -c core.hooksPath=/dev/null update-ref $branch HEAD && git bundle create "$work/bundle" $branch "^$base"; } \
        >"$work/why" 2>&1
    made=$?
    git -c core.hooksPath=/dev/null update-ref -d $branch
    [ "$made" = 0 ] || refuse "git makes no bundle: $(tail -n 1 "$work/why")"
    size=$(($(wc -c <"$work/bundle")))
    [ "$size" -le "$bundle_limit" ] || refuse "the push has $size bytes, $bundle_limit are allowed"
    ask 0
    [ -z "$(git status --porcelain --untracked-files=no)" ] ||
        echo "coop: changes that are not committed are not in it" >&2
    show
}

fetch() { # [AGENT]
    in_repository
    compose "fetch${1+ $1}"
    ask 0
    [ "$code" = 0 ] || show
    tail -n +2 "$work/reply" >"$work/branches"
    failed=0
    while read -r agent pushed <&5; do
        take_in "$agent" "$pushed" || failed=1
    done 5<"$work/branches"
    exit "$failed"
}

# What another agent made is looked over by git before it is taken in, kept packed, and checked out by nobody. It
# takes two steps, because older gits do not look into what comes out of a bundle: into a repository of its own, and
# from there.
take_in() { # AGENT PUSH
    if quarantined "$1" >"$work/why" 2>&1 &&
        careful fetch -q --no-tags "$work/git" "+$branch:refs/remotes/team/$1" >"$work/why" 2>&1; then
        echo "team/$1 is push $2 of $1:"
        git diff --stat "HEAD...refs/remotes/team/$1" -- 2>/dev/null | tail -n 20
    else
        echo "coop: what $1 pushed cannot be taken in: $(tail -n 1 "$work/why")" >&2
        return 1
    fi
}

quarantined() { # AGENT
    rm -rf "$work/git"
    case $(git rev-parse --show-object-format 2>/dev/null) in
    sha256) git init -q --bare --template= --object-format=sha256 "$work/git" ;;
    *) git init -q --bare --template= "$work/git" ;;
    esac || return 1
    objects=$(cd "$(git rev-parse --git-common-dir)/objects" && pwd) || return 1
    printf '%s\n' "$objects" >"$work/git/objects/info/alternates"
    git --git-dir "$work/git" update-ref refs/heads/base "$(cat "$spool/base")" &&
        git --git-dir "$work/git" bundle verify "$work/$1.bundle" &&
        careful --git-dir "$work/git" fetch -q --no-tags "$work/$1.bundle" "+$branch:$branch"
}

careful() {
    git -c core.hooksPath=/dev/null -c transfer.fsckObjects=true -c fetch.fsckObjects=true \
        -c transfer.unpackLimit=1 -c fetch.unpackLimit=1 -c gc.auto=0 -c maintenance.auto=false \
        -c fetch.recurseSubmodules=no "$@"
}

verb=${1-}
[ $# -eq 0 ] || shift
case $verb in
send)
    [ $# -eq 2 ] || wrong "send takes an agent and one text; quote it"
    an_agent "$1"
    call "send $1" "$2"
    ;;
broadcast)
    [ $# -eq 1 ] || wrong "broadcast takes one text; quote it"
    call broadcast "$1"
    ;;
inbox)
    number=0
    if [ $# -eq 2 ] && [ "$1" = --wait ]; then
        a_number "$2" "a whole number of seconds"
    elif [ $# -ne 0 ]; then
        wrong "inbox takes --wait SECONDS or nothing"
    fi
    compose "inbox $number"
    ask "$number"
    show
    ;;
ask)
    number=60
    if [ $# -eq 4 ] && [ "$3" = --wait ]; then
        a_number "$4" "a whole number of seconds"
    elif [ $# -ne 2 ]; then
        wrong "ask takes an agent, one text (quote it) and perhaps --wait SECONDS"
    fi
    an_agent "$1"
    compose "ask $1 $number" "$2"
    ask "$number"
    show
    ;;
who)
    [ $# -eq 0 ] || wrong "who takes nothing"
    call who
    ;;
task) task "$@" ;;
note) note "$@" ;;
push)
    [ $# -eq 0 ] || wrong "push takes nothing: it offers the branch you are on"
    push
    ;;
fetch)
    [ $# -le 1 ] || wrong "fetch takes one agent or nothing"
    [ $# -eq 0 ] || an_agent "$1"
    fetch "$@"
    ;;
mcp)
    has mcp || refuse "coop mcp is switched off in this run"
    command -v python3 >/dev/null || refuse "coop mcp needs python3, which this image does not have; use coop itself"
    exec python3 "$spool/mcp.py"
    ;;
-h | --help | help) usage ;;
'') wrong "say what to do" ;;
*) wrong "'$verb' is unknown" ;;
esac
