#!/bin/sh
# Kill every process of one command's: those that its tag, a variable, is in the environment of, and their descendants.
#
# usage: sh -c "$(cat hunt.sh kill.sh)" kill TAG
kill_all "$1"
