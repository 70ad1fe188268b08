#!/bin/sh
# Becomes a command in a container: sh enter.sh ROOT WATCHED USER GROUP FOLDER COMMAND [ARGUMENT …]
#
# Run it as the first process of a mount and a PID namespace of their own, which take everything along when they end. As
# under "docker run --read-only --cap-drop ALL --security-opt no-new-privileges -v WATCHED:/app/local_watch_dir:ro", but
# without a /tmp to write to.
set -eu
root=$1 watched=$2 user=$3 group=$4 folder=$5
shift 5
mount --bind "$root" "$root" # a mount of its own is what can be made read-only
mount --bind "$watched" "$root/app/local_watch_dir"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -o remount,bind,ro "$root/app/local_watch_dir"
mount -o remount,bind,ro "$root"
# The tie comes last: a change of user cuts it.
exec chroot "$root" setpriv --reuid "$user" --regid "$group" --clear-groups --bounding-set=-all --inh-caps=-all \
    --no-new-privs --pdeathsig KILL env --chdir="$folder" "$@"
