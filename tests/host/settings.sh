# shellcheck shell=bash disable=SC2034 # the readers are other scripts
# What every script of the test host agrees on. Sourced, never run.
#
# TEROK_TEST_CACHE  what may survive a run: the Podman 5 root directory, the busybox image
# TEROK_TEST_USER   the unprivileged account of the rootless lanes
# TEROK_TEST_HOST   set inside the private host: "shared" or "private", after its network

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
repo=$(cd "$here/../.." && pwd -P)
cache=${TEROK_TEST_CACHE:-$repo/.cache}
# The home of the parts with images: their store outlives a run.
test_home=$cache/test-home
tester=${TEROK_TEST_USER:-tester}
export TEROK_TEST_CACHE=$cache TEROK_TEST_USER=$tester

# Where the private host keeps its own things; a tmpfs, so gone with it.
stage=/run/terok-test-host
# Any numbers will do for an account that exists in the private host only, as long as they stay
# the same from run to run: a store on disk belongs to them.
stand_in_uid=61517
stand_in_range=1627389952:65536

fail() {
    echo "${0##*/}: $*" >&2
    exit 125
}

inside() { [ -n "${TEROK_TEST_HOST:-}" ] && [ -d "$stage" ]; }

is_root() { [ "$(id -u)" = 0 ]; }

# open_path DIR: let other users pass through every directory above DIR that only root may enter,
# in this mount namespace alone: a stand-in of mode 711 with the same entries is mounted over it.
open_path() {
    local at='' part
    local -a parts
    IFS=/ read -ra parts <<<"${1#/}"
    for part in "${parts[@]}"; do
        at=$at/$part
        [ -d "$at" ] || return 0
        case $(stat -c %A "$at") in *[xt]) continue ;; esac
        stand_in "$at"
    done
}

stand_in() {
    local copy entry name
    copy=$stage/open/$(tr / _ <<<"$1")
    mkdir -p "$copy"
    chmod 711 "$copy"
    for entry in "$1"/* "$1"/.[!.]*; do
        name=$copy/${entry##*/}
        if [ -L "$entry" ]; then
            cp -P "$entry" "$name"
        elif [ -d "$entry" ]; then
            mkdir -p "$name" && mount --rbind "$entry" "$name"
        elif [ -f "$entry" ]; then
            : >"$name" && mount --bind "$entry" "$name"
        fi
    done
    mount --rbind "$copy" "$1"
}
