# shellcheck shell=bash
# Copyright (c) 2026, pocket.cloud contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What the builders of the two disk images share. Sourced by bash; needs no root.

LAB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${POCKET_CLOUD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pocket-cloud}
# depmod and mke2fs live in sbin, which is not on an ordinary user's path
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C.UTF-8

say() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }

die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

need() {  # need PROGRAM...: all of them, or one sentence that names those that are missing
    local program missing=()
    for program in "$@"; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    [[ ${#missing[@]} -eq 0 ]] || die "these programs are missing: ${missing[*]}; script/bootstrap installs them"
}

# A key over what makes an image, files and the functions here: the image is rebuilt when one of them changes.
input_key() { { cat "$@"; declare -f fetch_packages module_files make_initramfs; } | sha256sum | cut -c1-64; }

up_to_date() {  # up_to_date IMAGE KEY
    [[ -s $1 && -f $1.key && $(<"$1.key") == "$2" ]]
}

# Shows the end of the log only when the command fails, and meanwhile a sign of life.
run_quietly() {  # run_quietly LOG COMMAND...
    local log=$1 process next=$((SECONDS + 5))
    shift
    "$@" >"$log" 2>&1 &
    process=$!
    while kill -0 "$process" 2>/dev/null; do
        sleep 0.1
        if [[ $SECONDS -ge $next ]]; then
            say "  ... $(tail -n 1 "$log" | cut -c1-90)"
            next=$((SECONDS + 5))
        fi
    done
    wait "$process" || { tail -n 30 "$log" >&2; die "failed: $1 (the whole log: $log)"; }
}

# What the network has a part in gets a second chance.
run_persistently() {  # run_persistently LOG COMMAND...
    (run_quietly "$@") || { say "trying that once more in 20 s"; sleep 20; run_quietly "$@"; }
}

# Downloads packages through the machine's own apt sources and unpacks them; installs nothing.
fetch_packages() {  # fetch_packages DIRECTORY PACKAGE...
    local directory=$1 deb
    shift
    mkdir -p "$directory/debs"
    run_persistently "$directory/debs/log" env -C "$directory/debs" apt-get -q -o APT::Sandbox::User="$(id -un)" download "$@"
    for deb in "$directory"/debs/*.deb; do
        dpkg-deb -x "$deb" "$directory"
    done
    rm -r "$directory/debs"
}

# The apt settings of this machine that decide whether packages can be reached at all.
apt_options() {
    apt-config dump | grep -E '^Acquire::((https?|ftp)::Proxy|Check-Valid-Until|Check-Date)[^ ]* "' || true
}

# Where packages come from: this machine's own sources when it is a Debian 12, else Debian's well-known host.
apt_sources() {
    local lines
    # shellcheck disable=SC2016  # apt-get fills these in
    lines=$(apt-get indextargets --format '$(ORIGIN)|deb $(SITE) $(RELEASE) $(COMPONENT)' 'Identifier: Packages' 2>/dev/null |
        sed -n 's/^Debian|\(deb [^ ]* bookworm[^ ]* .*\)/\1/p' | sort -u)
    printf '%s\n' "${lines:-deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian bookworm-updates main
deb http://deb.debian.org/debian-security bookworm-security main}"
}

# Debian's kernel for virtual machines, its modules, and a static busybox: $CACHE/kernel/{vmlinuz,version,tree}
ensure_kernel() {
    local key work package version
    key=$(input_key "$LAB_DIR/initramfs/init")
    up_to_date "$CACHE/kernel/vmlinuz" "$key" && return
    need apt-get apt-cache dpkg-deb depmod modprobe
    say "kernel: downloading Debian's linux-image-cloud-amd64 and busybox-static"
    mkdir -p "$CACHE"
    work=$(mktemp -d "$CACHE/kernel.XXXXXX")
    package=$(apt-cache depends linux-image-cloud-amd64 | awk '$1 == "Depends:" {print $2; exit}')
    [[ -n $package ]] || die "apt knows no package linux-image-cloud-amd64; run apt-get update on a Debian machine"
    fetch_packages "$work/tree" "$package" busybox-static
    version=${package#linux-image-}
    cp "$work/tree/boot/vmlinuz-$version" "$work/vmlinuz"
    echo "$version" >"$work/version"
    depmod -b "$work/tree" "$version"
    make_initramfs "$work" "$version"
    echo "$key" >"$work/vmlinuz.key"
    chmod 755 "$work"
    rm -rf "$CACHE/kernel"
    mv "$work" "$CACHE/kernel"
}

# Prints the module files that loading the given modules takes, in the order of loading.
module_files() {  # module_files TREE VERSION MODULE...
    local tree=$1 version=$2
    shift 2
    modprobe -d "$tree" -S "$version" -a --show-depends "$@" | awk '$1 == "insmod" && !seen[$2]++ {print $2}'
}

# An initramfs that does one thing: loads the disk driver and mounts the root (ext4 is in the kernel).
make_initramfs() {  # make_initramfs WORK VERSION
    local work=$1 version=$2 root=$1/initramfs file
    mkdir -p "$root"/{bin,dev,proc,modules,root}
    cp "$work/tree/bin/busybox" "$root/bin/"
    ln -s busybox "$root/bin/sh"
    install -m 755 "$LAB_DIR/initramfs/init" "$root/init"
    while read -r file; do
        cp "$file" "$root/modules/"
        echo "${file##*/}" >>"$root/modules/order"
    done < <(module_files "$work/tree" "$version" virtio_pci virtio_blk)
    (cd "$root" && find . | ./bin/busybox cpio -o -H newc 2>/dev/null) >"$work/initrd"
    rm -r "$root"
}
