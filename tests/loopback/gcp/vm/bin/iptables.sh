#!/bin/sh
# The `iptables` command of a loopback VM: rules are kept in a file, for `-C` and for tests; nothing is filtered here.
set -eu
rules=/mnt/iptables
verb=''
rule=''
for word in "$@"; do
  case $word in
    -w | --wait) ;;
    -t | -I | -A | -C | -D) verb=$word ;;
    *) rule="$rule $word" ;;
  esac
done
touch "$rules"
case $verb in
  -C) grep -Fqx -e "$rule" "$rules" ;;
  -I | -A) printf '%s\n' "$rule" >>"$rules" ;;
  -D) exit 0 ;;
  *) echo "iptables: '$*' is not served here" >&2 && exit 2 ;;
esac
