#!/bin/sh
# Becomes the modern pair's dockerd. It runs in a network and a mount namespace made for it; what is
# mounted here is seen by nobody else and gone with the engine. With chroot in place of pivot_root,
# `docker load` fails, and `docker exec` enters the root of the host.
# modern.sh ROOTFS DATA RUN FOLDER...   (RUN and each FOLDER are there at their own paths)
set -eu
rootfs=$1 data=$2 run=$3
shift 2
mount --make-rprivate /
mount --bind "$rootfs" "$rootfs"
mount -t proc proc "$rootfs/proc"
mount --rbind /sys "$rootfs/sys"
mount --rbind /dev "$rootfs/dev"
mount -t tmpfs tmpfs "$rootfs/run"
mkdir -p "$rootfs/var/lib/docker"
mount --bind "$data" "$rootfs/var/lib/docker"
for folder in "$@"; do
    mkdir -p "$rootfs$folder"
    mount --rbind "$folder" "$rootfs$folder"
done
mkdir -p "$rootfs/.old"
cd "$rootfs"
pivot_root . .old
cd /
umount -l /.old
exec dockerd --host="unix://$run/docker.sock" --pidfile="$run/docker.pid" --exec-root="$run/exec"
