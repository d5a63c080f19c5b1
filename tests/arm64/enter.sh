#!/bin/sh
# Runs a command in the aarch64 system that fetch.sh unpacked, with this clone as its /edgeseg.
#   enter.sh FOLDER COMMAND...
#   QEMU_CPU            the processor: cortex-a76 (Raspberry Pi 5, default), cortex-a72 (Raspberry Pi 4)
#   EDGESEG_TEST_DATA   the data folder; it becomes /data
# Needs no root and changes nothing outside: binfmt_misc, the mounts and the processes belong to a user namespace
# that ends with the command.
set -eu

if [ "${1-}" != --inside ]; then
    folder=$(cd "$1" && pwd)
    shift
    why=$(unshare --user --map-root-user --mount true 2>&1) || {
        echo "make test-arm64: user namespaces are not allowed here ($why); see sysctl kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns" >&2
        exit 2
    }
    exec unshare --user --map-root-user --mount --pid --fork --kill-child "$0" --inside "$folder" "$@"
fi

folder=$2
shift 2
root=$folder/root
project=$(cd "$(dirname "$0")/../.." && pwd)
data=${EDGESEG_TEST_DATA:-$project/../shared/data}

mount --bind "$project" "$root/edgeseg"
mount --bind "$folder/wheels" "$root/usr/local/lib/python3.13/dist-packages"
[ ! -d "$data" ] || mount --rbind "$data" "$root/data"
mount -t binfmt_misc none "$root/binfmt" 2>/dev/null || {
    echo "make test-arm64: this kernel ($(uname -r)) has no binfmt_misc of a user namespace's own; it needs Linux 6.7 or newer" >&2
    exit 2
}
# The magic and mask are those of qemu's own binfmt file for 64-bit little-endian ARM. F: the interpreter is opened
# now, outside of the chroot. P and C: argv[0] and credentials as the program expects them; O: an open file.
printf ':aarch64:M::%s:%s:%s:FPOC' \
    '\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00' \
    '\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff' \
    "$folder/qemu-aarch64" >"$root/binfmt/register"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/run"

exec env -i PATH=/usr/sbin:/usr/bin HOME=/root LC_ALL=C.UTF-8 QEMU_CPU="${QEMU_CPU:-cortex-a76}" \
    PYTHONPATH=/edgeseg PYTHONPYCACHEPREFIX=/var/cache/python EDGESEG_TEST_DATA=/data \
    PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 \
    chroot "$root" /bin/sh -c 'cd /edgeseg && exec "$@"' sh "$@"
