# The end: what this machine is for.

trap 'rm -rf "$home"' EXIT
w=$home
word=main
for program in docker curl iptables; do
    command -v "$program" >/dev/null || {
        say "the boot image has no $program; boot_image = \"batch-cos\" has"
        exit 1
    }
done
# Where it would go by itself is read-only on some systems.
export DOCKER_CONFIG="$home/docker"
case $COOPERBENCH_ROLE in
slots) slot ;;
batch) batch ;;
esac
