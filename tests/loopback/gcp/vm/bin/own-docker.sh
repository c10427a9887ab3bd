#!/bin/sh
# The `docker` command of a loopback VM that uses this machine's own engine: what it makes is marked as the VM's.
set -eu
read -r vm </mnt/name
verb=$1
shift
case $verb in run | create) set -- --label "cooperbench-test-vm=$vm" "$@" ;; esac
exec /mnt/bin/engine-docker "$verb" "$@"
