#!/usr/bin/env bash
#
# Carries one ssh-agent client (stdin, stdout) to the supervisor's signer. The signer wants to know who asks before
# the agent protocol starts: four bytes with the token's length, most significant first, then the token.
#
# Exit status: 2 when the environment does not say where to go, otherwise that of socat.

set -uo pipefail
export LC_ALL=C

refuse() {
    printf 'ssh-agent-bridge: %s\n' "$1" >&2
    exit "$2"
}

token=${TEROK_SSH_SIGNER_TOKEN:-}
[[ -n $token ]] || refuse 'TEROK_SSH_SIGNER_TOKEN is not set' 1
((${#token} <= 1024)) || refuse 'TEROK_SSH_SIGNER_TOKEN is longer than 1024 bytes' 1

retry=retry=300,interval=0.1
if [[ -n ${TEROK_SSH_SIGNER_SOCKET:-} ]]; then
    [[ $TEROK_SSH_SIGNER_SOCKET =~ ^/[A-Za-z0-9._/-]+$ ]] || refuse 'TEROK_SSH_SIGNER_SOCKET is not a usable path' 2
    target=UNIX-CONNECT:$TEROK_SSH_SIGNER_SOCKET,$retry
elif [[ -n ${TEROK_SSH_SIGNER_PORT:-} ]]; then
    [[ $TEROK_SSH_SIGNER_PORT =~ ^[0-9]+$ ]] || refuse 'TEROK_SSH_SIGNER_PORT is not a number' 2
    target=TCP:host.containers.internal:$TEROK_SSH_SIGNER_PORT,$retry
else
    refuse 'neither TEROK_SSH_SIGNER_SOCKET nor TEROK_SSH_SIGNER_PORT is set' 2
fi

# Printed by a builtin: the token never becomes an argument of a process.
send_token() {
    local n=${#token} header
    printf -v header '\\x%02x\\x%02x\\x%02x\\x%02x' $((n >> 24 & 255)) $((n >> 16 & 255)) $((n >> 8 & 255)) $((n & 255))
    printf '%b%s' "$header" "$token"
}

exec 3<&0
exec 4< <(send_token; exec cat <&3)
feeder=$!
exec 3<&-
# The client learns of a signer that hung up only when this socat ends, hence the short patience.
socat -t 2 - "$target" <&4
status=$?
# The feeder would keep the client's connection open after the signer has hung up. And it has to be gone before this
# process is: a socat whose child ended while somebody still holds the line never tells its client.
kill "$feeder" 2>/dev/null
wait "$feeder" 2>/dev/null
exit "$status"
