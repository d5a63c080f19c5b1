#!/bin/sh
# Installs what a set-up needs from Debian's packages, or says what is missing.
#   install_servers.sh venv PYTHON   the venv module of PYTHON
#   install_servers.sh test          the real broker, RTSP server and browser that the tests talk to, and GStreamer itself
set -eu

run_as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo "$@"
    else return 1
    fi
}

apt_install() {
    command -v apt-get >/dev/null || return 1
    export DEBIAN_FRONTEND=noninteractive
    run_as_root apt-get install -y -q --no-install-recommends "$@" >/dev/null 2>&1 && return 0
    run_as_root apt-get update -q >/dev/null 2>&1 &&
        run_as_root apt-get install -y -q --no-install-recommends "$@" >/dev/null
}

# Into .venv/servers: a server that is installed starts, and takes its port.
unpack() {
    command -v apt-get >/dev/null || return 1
    mkdir -p .venv/servers
    (
        cd .venv/servers
        apt-get download -q "$1" >/dev/null 2>&1 ||
            { run_as_root apt-get update -q >/dev/null 2>&1 && apt-get download -q "$1" >/dev/null 2>&1; }
        dpkg-deb -x "$1"_*.deb .
    )
}

case "$1" in
venv)
    "$2" -c 'import ensurepip, venv' 2>/dev/null && exit 0
    echo "installing python3-venv"
    apt_install python3-venv || {
        echo "make: $2 has no venv module; install it (Debian: sudo apt-get install python3-venv) and try again" >&2
        exit 2
    }
    ;;
test)
    packages=""
    command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || packages="$packages mosquitto"
    command -v openssl >/dev/null || packages="$packages openssl"
    # The fault suite's jumping clock.
    command -v faketime >/dev/null || packages="$packages faketime"
    command -v chromium >/dev/null || packages="$packages chromium"
    command -v systemd-analyze >/dev/null || packages="$packages systemd"
    /usr/bin/python3 -c '
import gi
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
elements = "appsrc h264parse rtph264pay videotestsrc decodebin qtdemux rtspsrc openh264dec"
assert all(map(Gst.ElementFactory.find, elements.split()))
' 2>/dev/null || packages="$packages python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base \
gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-rtsp"
    command -v nginx >/dev/null || [ -x .venv/servers/usr/sbin/nginx ] || unpack nginx ||
        echo "make: could not unpack nginx; the test of the reverse proxy will be skipped" >&2
    [ -z "$packages" ] && exit 0
    echo "installing$packages"
    # The suite says which tests it skips without them, and CI=true makes each of those a failure.
    # shellcheck disable=SC2086
    apt_install $packages || echo "make: could not install$packages; the tests that need them will be skipped" >&2
    ;;
esac
