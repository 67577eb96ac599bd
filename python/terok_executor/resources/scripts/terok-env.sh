# shellcheck shell=bash
#
# Environment of every bash in the container: login shells read it from /etc/profile.d, interactive ones through
# the system bashrc, all others through BASH_ENV. Programs that speak a protocol on stdout are started from such
# shells, so nothing here may write to stdout.

# /etc/profile is also read by sh, which knows neither arrays nor [[.
[ -n "${BASH_VERSION:-}" ] || return 0

# A shell is ready when the functions are there. A variable would not do: agents save their environment and restore
# it in new shells, where functions are missing.
_terok_env_ready() {
    declare -F _terok_apply_git_identity >/dev/null
}
if _terok_env_ready; then return 0; fi

# Only what is missing goes to the front, so that an activated virtual environment stays ahead in child shells.
_terok_env_path() {
    local dir missing=""
    for dir in "$HOME/.npm-packages/bin" "$HOME/.local/bin" "$HOME/.opencode/bin"; do
        case ":$PATH:" in
            *":$dir:"*) ;;
            *) missing+=$dir: ;;
        esac
    done
    export PATH=$missing$PATH
}

# Pushes and reviews on a forge are the person's doing, whoever wrote the commits. Call in a subshell.
_terok_env_as_human() {
    export GIT_AUTHOR_NAME=${HUMAN_GIT_NAME:-Nobody} GIT_AUTHOR_EMAIL=${HUMAN_GIT_EMAIL:-nobody@localhost}
    export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
}
gh() (
    _terok_env_as_human
    command gh "$@"
)
glab() (
    _terok_env_as_human
    command glab "$@"
)

# Root's shells stay away: relays started by root could not be repaired by the user later.
_terok_env_bridges() {
    # shellcheck disable=SC2034 # read by ensure-bridges.sh
    local _TEROK_BRIDGE_PATIENT=1
    # No command substitution here: this runs in every shell, and a fork costs more than all the rest.
    ((EUID != 0)) && type -P socat >/dev/null && type -P ensure-bridges.sh >/dev/null || return 0
    # shellcheck source=/dev/null
    source ensure-bridges.sh >/dev/null
}

_terok_env_ssh_agent() {
    local socket=/tmp/ssh-agent.sock
    if [[ -S $socket ]]; then
        export SSH_AUTH_SOCK=$socket
    elif [[ ${SSH_AUTH_SOCK:-} == "$socket" ]]; then
        unset SSH_AUTH_SOCK
    fi
}

# Sets the three directories, the identity functions, the relays and the wrappers of this task's agents, in the
# order in which they need each other.
_terok_env_load() {
    local file=/usr/local/share/terok
    _terok_env_path
    # shellcheck source=/dev/null
    [[ ! -r $file/terok-env-git-identity.sh ]] || source "$file/terok-env-git-identity.sh" >/dev/null
    _terok_env_bridges
    _terok_env_ssh_agent
    # shellcheck source=/dev/null
    [[ ! -r $file/terok-env-wrappers.sh ]] || source "$file/terok-env-wrappers.sh" >/dev/null
    return 0
}
_terok_env_load || true
