# shellcheck shell=bash
#
# Starts the relays between a container and its supervisor. Source it, do not run it: SSH_AUTH_SOCK has to reach
# the caller. Every shell of the container sources it, so the healthy case forks nothing and prints nothing.
#
#   relay            listens on               leads to
#   ssh-agent        /tmp/ssh-agent.sock      ssh-agent-bridge.sh, one process per client
#   vault-loopback   127.0.0.1:9419           /run/terok/vault.sock, or the broker's port on the host
#   vault-socket     /tmp/terok-vault.sock    the broker's port on the host
#   gate             127.0.0.1:9418           TEROK_GATE_SOCKET, or TEROK_GATE_PORT on the host
#
# A relay counts as alive when the process in /tmp/.terok/<relay>.pid is a socat with exactly that listener: a file
# or a socket left by an earlier boot of the container proves nothing. Relays start before the supervisor has bound
# its side; each client waits up to 30 s for it instead.

_TEROK_BRIDGE_DIR=/tmp/.terok
_TEROK_BRIDGE_SSH_SOCK=/tmp/ssh-agent.sock
_TEROK_BRIDGE_VAULT_SOCK=/tmp/terok-vault.sock
_TEROK_BRIDGE_GATE_PORT=9418
# 300 attempts, 0.1 s apart.
_TEROK_BRIDGE_RETRY=retry=300,interval=0.1
_TEROK_BRIDGE_HOME=${BASH_SOURCE[0]%/*}
[[ $_TEROK_BRIDGE_HOME == "${BASH_SOURCE[0]}" ]] && _TEROK_BRIDGE_HOME=.

# True for a TCP port number; anything else must not reach a socat address, where commas add options.
_terok_bridge_is_port() {
    [[ $1 =~ ^[1-9][0-9]{0,4}$ ]] && ((10#$1 <= 65535))
}

# True for an absolute path that socat reads as one word.
_terok_bridge_is_path() {
    [[ $1 =~ ^/[A-Za-z0-9._/-]+$ ]]
}

_terok_bridge_tcp_listener() {
    REPLY="TCP-LISTEN:$1,bind=127.0.0.1,reuseaddr,fork,backlog=128"
}

_terok_bridge_unix_listener() {
    REPLY="UNIX-LISTEN:$1,fork,mode=0600,backlog=128"
}

# Sets REPLY to the address of a host port; fails on something that is no port.
_terok_bridge_host() {
    if ! _terok_bridge_is_port "$2"; then
        printf "terok: relay \`%s\`: \`%s\` is not a port number\\n" "$1" "$2" >&2
        return 1
    fi
    REPLY="TCP:host.containers.internal:$2,$_TEROK_BRIDGE_RETRY"
}

# Sets REPLY to the address of a Unix socket; fails on an unusable path.
_terok_bridge_unix() {
    if ! _terok_bridge_is_path "$2"; then
        printf "terok: relay \`%s\`: \`%s\` is not a usable socket path\\n" "$1" "$2" >&2
        return 1
    fi
    REPLY="UNIX-CONNECT:$2,$_TEROK_BRIDGE_RETRY"
}

_terok_bridge_script() {
    REPLY=$_TEROK_BRIDGE_HOME/ssh-agent-bridge.sh
    [[ -x $REPLY ]] || REPLY=$(type -P ssh-agent-bridge.sh) || return 1
}

# One call of "$@" per relay the environment asks for: <name> <listener> <target>.
_terok_bridge_each() {
    local REPLY listener broker=${TEROK_TOKEN_BROKER_PORT:-} loopback
    loopback=${TEROK_VAULT_LOOPBACK_PORT:-${broker:+9419}}

    if [[ -n ${TEROK_SSH_SIGNER_TOKEN:-} && -n ${TEROK_SSH_SIGNER_SOCKET:-}${TEROK_SSH_SIGNER_PORT:-} ]]; then
        _terok_bridge_unix_listener "$_TEROK_BRIDGE_SSH_SOCK"
        listener=$REPLY
        if _terok_bridge_script; then "$@" ssh-agent "$listener" "EXEC:$REPLY"; fi
    fi
    # A broker port means TCP mode and rules out the mounted socket, even if a file of that name exists.
    if [[ -n $loopback ]] && _terok_bridge_host vault-loopback "$loopback"; then
        _terok_bridge_tcp_listener "$loopback"
        listener=$REPLY
        if [[ -z $broker ]]; then
            "$@" vault-loopback "$listener" "UNIX-CONNECT:/run/terok/vault.sock,$_TEROK_BRIDGE_RETRY"
        elif _terok_bridge_host vault-loopback "$broker"; then
            "$@" vault-loopback "$listener" "$REPLY"
        fi
    fi
    if [[ -n $broker ]]; then
        _terok_bridge_unix_listener "$_TEROK_BRIDGE_VAULT_SOCK"
        listener=$REPLY
        _terok_bridge_host vault-socket "$broker" && "$@" vault-socket "$listener" "$REPLY"
    fi
    if [[ -n ${TEROK_GATE_SOCKET:-}${TEROK_GATE_PORT:-} ]]; then
        _terok_bridge_tcp_listener "$_TEROK_BRIDGE_GATE_PORT"
        listener=$REPLY
        if [[ -n ${TEROK_GATE_SOCKET:-} ]]; then
            _terok_bridge_unix gate "$TEROK_GATE_SOCKET" && "$@" gate "$listener" "$REPLY"
        else
            _terok_bridge_host gate "$TEROK_GATE_PORT" && "$@" gate "$listener" "$REPLY"
        fi
    fi
    return 0
}

# Sets REPLY to the pid in the relay's file if that process really is this relay. Builtins only.
_terok_bridge_pid() {
    local IFS=' ' pid="" argv=()
    REPLY=""
    [[ -r $_TEROK_BRIDGE_DIR/$1.pid ]] || return 1
    read -r pid <"$_TEROK_BRIDGE_DIR/$1.pid" || [[ -n $pid ]] || return 1
    [[ $pid =~ ^[1-9][0-9]*$ ]] && kill -0 "$pid" 2>/dev/null || return 1
    [[ -r /proc/$pid/cmdline ]] || return 1
    mapfile -d '' -t argv 2>/dev/null <"/proc/$pid/cmdline" || return 1
    [[ ${argv[0]:-} == *socat && ${argv[*]} == *" $2 "* ]] || return 1
    REPLY=$pid
}

# A Unix listener whose file somebody removed can no longer be reached.
_terok_bridge_alive() {
    local REPLY socket
    _terok_bridge_pid "$1" "$2" || return 1
    [[ $2 == UNIX-LISTEN:* ]] || return 0
    socket=${2#UNIX-LISTEN:}
    [[ -S ${socket%%,*} ]]
}

_terok_bridge_note_missing() {
    _terok_bridge_alive "$1" "$2" || _terok_bridge_missing=1
}

# True once the listener accepts clients. The kernel's table is read rather than the port tried:
# a trial connection would be handed on to the supervisor.
_terok_bridge_listening() {
    local address=${1#*:} hex
    address=${address%%,*}
    if [[ $1 == UNIX-LISTEN:* ]]; then
        [[ -S $address ]]
        return
    fi
    printf -v hex '0100007F:%04X 00000000:0000 0A' "$address"
    [[ $(</proc/net/tcp) == *"$hex"* ]]
}

_terok_bridge_report() {
    local log=$_TEROK_BRIDGE_DIR/$1.log failed=$_TEROK_BRIDGE_DIR/$1.failed line="" last=""
    # Told once; shells are started by the hundred.
    [[ -e $failed ]] && { printf '' >|"$failed"; return; }
    printf '' >|"$failed"
    while read -r line; do last=$line; done <"$log"
    printf "terok: relay \`%s\` did not start: %s\\n" "$1" "${last:-no message, see $log}" >&2
}

# Starts one relay and waits until it listens. Runs inside the locked subshell.
_terok_bridge_start() {
    local name=$1 listener=$2 target=$3 pid tries socket REPLY
    _terok_bridge_alive "$name" "$listener" && return 0
    if _terok_bridge_pid "$name" "$listener"; then kill "$REPLY" 2>/dev/null; fi
    rm -f -- "$_TEROK_BRIDGE_DIR/$name.pid"
    if [[ $listener == UNIX-LISTEN:* ]]; then
        socket=${listener#UNIX-LISTEN:}
        rm -f -- "${socket%%,*}"
    fi
    # A client that has sent its last byte may still wait long for its answer: -t is that patience.
    # BASH_ENV is dropped so that the per-client script does not come back here.
    env -u BASH_ENV setsid socat -t 600 -b 65536 "$listener" "$target" \
        </dev/null >|"$_TEROK_BRIDGE_DIR/$name.log" 2>&1 9>&- &
    pid=$!
    printf '%s\n' "$pid" >|"$_TEROK_BRIDGE_DIR/$name.pid"
    for ((tries = 0; tries < 250; tries++)); do
        if ! kill -0 "$pid" 2>/dev/null; then break; fi
        if _terok_bridge_pid "$name" "$listener" && _terok_bridge_listening "$listener"; then
            rm -f -- "$_TEROK_BRIDGE_DIR/$name.failed"
            return 0
        fi
        sleep 0.02
    done
    rm -f -- "$_TEROK_BRIDGE_DIR/$name.pid"
    _terok_bridge_report "$name"
}

# A recent failure is not tried again by every shell; an explicit `source ensure-bridges.sh` is.
_terok_bridge_gave_up() {
    local failed=$_TEROK_BRIDGE_DIR/$1.failed
    [[ -n ${_TEROK_BRIDGE_PATIENT:-} && -e $failed ]] || return 1
    [[ -n $(find "$failed" -newermt '-10 seconds' 2>/dev/null) ]]
}

_terok_bridge_start_unless_failed() {
    _terok_bridge_gave_up "$1" || _terok_bridge_start "$@"
}

# Subshell: options, traps and descriptors of the caller stay as they are.
_terok_bridges_repair() (
    set +eEmux
    set +o noclobber
    trap - DEBUG ERR EXIT
    umask 077
    mkdir -m 0700 "$_TEROK_BRIDGE_DIR" 2>/dev/null
    # The parent directory is open to every user: somebody else's folder, or a link, is not written to.
    if [[ -L $_TEROK_BRIDGE_DIR || ! -d $_TEROK_BRIDGE_DIR || ! -O $_TEROK_BRIDGE_DIR ]]; then
        [[ -t 2 ]] && printf "terok: \`%s\` belongs to another user, relays are left alone\\n" "$_TEROK_BRIDGE_DIR" >&2
        exit 0
    fi
    chmod 0700 "$_TEROK_BRIDGE_DIR"
    exec 9>|"$_TEROK_BRIDGE_DIR/lock" || exit 0
    flock -w 20 9 || exit 0
    _terok_bridge_each _terok_bridge_start_unless_failed
)

_terok_ensure_bridges() {
    local _terok_bridge_missing=""
    _terok_bridge_each _terok_bridge_note_missing
    if [[ -n $_terok_bridge_missing ]]; then
        type -P socat >/dev/null || return 0
        _terok_bridges_repair >&2 || true
    fi
    if [[ -n ${TEROK_SSH_SIGNER_TOKEN:-} ]]; then
        _terok_bridge_unix_listener "$_TEROK_BRIDGE_SSH_SOCK"
        if _terok_bridge_alive ssh-agent "$REPLY"; then export SSH_AUTH_SOCK=$_TEROK_BRIDGE_SSH_SOCK; fi
    fi
    return 0
}

_terok_ensure_bridges || true
