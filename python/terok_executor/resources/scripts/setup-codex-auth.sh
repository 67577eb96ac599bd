#!/usr/bin/env bash
#
# Codex login in the container made for it. Codex waits for the browser's callback on the container's own loopback,
# while a published port arrives at the container's address: a relay joins the two while the login runs.
set -euo pipefail

port=1455
address=$(ip -4 -o address show scope global 2>/dev/null | awk '{ sub(/\/.*/, "", $4); print $4; exit }') || true
if [[ -z $address ]]; then
    printf 'setup-codex-auth: this container has no IPv4 address, the browser could not call back\n' >&2
    exit 1
fi

socat "TCP-LISTEN:$port,bind=$address,reuseaddr,fork" "TCP:127.0.0.1:$port" &
relay=$!
trap 'kill "$relay" 2>/dev/null || true' EXIT

codex login "$@"
