# The end: what this machine is for.

trap 'rm -rf "$home"' EXIT
w=$home
word=main
case $COOPERBENCH_ROLE in
slots) slot ;;
batch) batch ;;
esac
