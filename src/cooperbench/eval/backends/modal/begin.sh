#!/bin/sh
# Begin a command in the sandbox.
#
# usage: sh -c "$(cat begin.sh)" begin WORKDIR DIRECTORY (given | none) COMMAND [ARGUMENT...]
#
# WORKDIR is made if it is not there; the command starts in DIRECTORY, with standard input as it is or with none. It
# takes this shell's place, so its exit code, its signals and the tag in its environment are its own. A program that
# does not exist is exit code 127, on whatever runs this.
[ -d "$1" ] || mkdir -p "$1"
CDPATH='' cd -- "$2" || exit 126
[ "$3" = given ] || exec </dev/null
shift 3
exec "$@"
