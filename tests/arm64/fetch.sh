#!/bin/sh
# Fetches qemu-user and an aarch64 Debian 13 (Python 3.13, mosquitto) into a folder of its own, and unpacks them.
#   fetch.sh FOLDER
# By apt alone, which verifies what it fetches; it needs no root, and goes on where it was interrupted. Nothing of
# the aarch64 system runs while it is unpacked: no package's script, which would need root or an emulator.
#   DEBIAN_MIRROR   where Debian's packages are; default: the mirror that this machine's apt uses
set -eu

# libstdc++6: of OpenCV, onnxruntime and the other wheels; libseccomp2: of the daemon's system call filter.
PACKAGES="base-files bash dash coreutils findutils grep sed libc-bin libstdc++6 libseccomp2 openssl procps python3 mosquitto"

fail() {
    echo "make test-arm64: $*" >&2
    exit 2
}

for tool in apt-get dpkg-deb tar unshare; do
    command -v "$tool" >/dev/null || fail "$tool is not installed; this target needs Debian or its kin, and util-linux"
done
mkdir -p "$1/apt/lists/partial" "$1/apt/archives/partial"
folder=$(cd "$1" && pwd)
apt=$folder/apt
host=$(dpkg --print-architecture)

mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(SITE)' | grep -E '^https?://.*/debian/?$' | head -n 1)}
[ -n "$mirror" ] || fail "this machine's apt uses no mirror of Debian; name one: make test-arm64 DEBIAN_MIRROR=http://..."
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keys" ] || fail "$keys is missing; install the package debian-archive-keyring"

# The machine's own apt settings (proxies, time-outs), with packages, sources and a state of our own.
apt_get() {
    apt-get -q -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o "APT::Architectures::=$host" \
        -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
        -o Dir::State="$apt" -o Dir::State::Lists="$apt/lists" -o Dir::State::Status="$apt/status" \
        -o Dir::Cache="$apt" -o Dir::Cache::Archives="$apt/archives" \
        -o APT::Sandbox::User=root -o APT::Install-Recommends=false "$@" >"$apt/log" 2>&1 ||
        fail "apt-get $1 failed: $(grep '^E:' "$apt/log" | head -n 1) (all of it: $apt/log)"
}

wanted="$mirror $PACKAGES"
[ "$(cat "$folder/.fetched" 2>/dev/null)" = "$wanted" ] && exit 0
echo "fetching an aarch64 Debian and qemu-user into $1 (110 MB)"
: >"$apt/status"
echo "deb [arch=arm64,$host signed-by=$keys] $mirror trixie main" >"$apt/sources.list"
apt_get update
# shellcheck disable=SC2086
apt_get install -y --download-only $PACKAGES
(cd "$apt/archives" && apt_get download "qemu-user:$host")

rm -rf "$folder/root" "$folder/root.partial"
mkdir "$folder/root.partial"
for package in "$apt"/archives/*_arm64.deb "$apt"/archives/*_all.deb; do
    dpkg-deb -x "$package" "$folder/root.partial"
done
dpkg-deb --fsys-tarfile "$apt/archives"/qemu-user_*.deb | tar -x -C "$folder" --strip-components=3 ./usr/bin/qemu-aarch64

# What the packages' scripts would have made, as far as programs look for it.
cd "$folder/root.partial"
printf '%s\n' 'root:x:0:0:root:/root:/bin/bash' 'nobody:x:65534:65534:nobody:/:/usr/sbin/nologin' >etc/passwd
printf '%s\n' 'root:x:0:' 'nogroup:x:65534:' >etc/group
printf '%s\n' '127.0.0.1 localhost' '::1 localhost' >etc/hosts
mkdir -p edgeseg data usr/local/lib/python3.13/dist-packages binfmt
mv "$folder/root.partial" "$folder/root"
echo "$wanted" >"$folder/.fetched"
