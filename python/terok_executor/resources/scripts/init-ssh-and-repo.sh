#!/usr/bin/env bash
#
# First program of every container: permission mode, relays, ssh client, repository. Prints ">> init complete" when
# the agent may start. With a terminal on stdin it then becomes an interactive shell, otherwise it exits 0.
#
# Exit status: that of the git step that failed; 128 when a new task finds files of somebody else in its folder; 69 when
# the container was started without its supervisor.

set -euo pipefail

HOME=${HOME:-/home/dev}
export HOME
REPO_ROOT=${REPO_ROOT:-}
CODE_REPO=${CODE_REPO:-}
CLONE_FROM=${CLONE_FROM:-}
GIT_BRANCH=${GIT_BRANCH:-}
GIT_RESET_MODE=${GIT_RESET_MODE:-none}
EXTERNAL_REMOTE_URL=${EXTERNAL_REMOTE_URL:-}
GATE_REMOTE_URL=${GATE_REMOTE_URL:-}
MARKER_NAME=.new-task-marker

say() { printf '>> %s\n' "$*"; }
warn() { printf '!! %s\n' "$*" >&2; }

# ---------------------------------------------------------------- virtual machine (krun)

SSHD_OPTIONS=(-o 'AllowUsers dev root' -o 'PermitRootLogin without-password' -o 'PermitUserEnvironment yes')

start_sshd() {
    local sshd
    # Started by its full path, as sshd itself demands; /usr/sbin is not on every PATH.
    sshd=$(PATH=$PATH:/usr/sbin type -P sshd) || { warn 'sshd is not installed, nobody can log in'; return 0; }
    # Host keys belong to this machine, not to the image that many machines share.
    ssh-keygen -A >/dev/null 2>&1 || warn 'ssh host keys could not be made'
    # shellcheck disable=SC2016 # expanded by the bash below
    env -u BASH_ENV setsid bash -c 'while :; do "$0" -D -e "$@" || true; sleep 1; done' "$sshd" \
        "${SSHD_OPTIONS[@]}" </dev/null >&2 &
}

# What describes this very shell, or belongs to the login that sshd sets up itself.
is_login_variable() {
    case $1 in
        PATH | HOME | PWD | OLDPWD | USER | LOGNAME | SHELL | SHLVL | IFS | MAIL | HOSTNAME | TERM | LANG | LC_* | LS_COLORS | _) ;;
        BASH* | FUNCNAME | EUID | UID | GROUPS | PPID | RANDOM | LINENO | SECONDS | HISTFILE | HISTSIZE | HISTCONTROL) ;;
        *) return 1 ;;
    esac
}

# sshd does not pass the container's environment on; its sessions find it in this file.
write_ssh_environment() {
    local name file
    file=$(mktemp /run/sshd/environment.XXXXXX)
    for name in $(compgen -e); do
        is_login_variable "$name" && continue
        # The file has one line per variable and no way to quote.
        [[ ${!name} == *$'\n'* ]] || printf '%s=%s\n' "$name" "${!name}"
    done >"$file"
    install -d -o dev -g dev -m 0700 /home/dev/.ssh
    install -o dev -g dev -m 0600 -T "$file" /home/dev/.ssh/environment
    rm -f -- "$file"
}

# Comes before everything that can fail: a broken repository must not lock the operator out.
become_dev_in_vm() {
    [[ ${TEROK_CONTAINER_RUNTIME:-} == krun ]] && ((EUID == 0)) || return 0
    mkdir -p /run/sshd
    start_sshd
    write_ssh_environment
    export HOME=/home/dev USER=dev LOGNAME=dev
    exec runuser -u dev -- "${BASH_SOURCE[0]}" "$@"
}

# ---------------------------------------------------------------- supervisor

SUPERVISOR_DIR=/run/terok
SUPERVISOR_SOCKET=$SUPERVISOR_DIR/vault.sock
NO_SUPERVISOR=69

is_supervised_by_socket() {
    [[ -z ${TEROK_TOKEN_BROKER_PORT:-} && ${TEROK_CONTAINER_RUNTIME:-} != krun ]] &&
        grep -q " $SUPERVISOR_DIR " /proc/self/mountinfo
}

# A socket file alone proves nothing: it may be left from an earlier life of the container.
supervisor_answers() {
    [[ -S $SUPERVISOR_SOCKET ]] || return 1
    type -P socat >/dev/null || return 0
    socat -u OPEN:/dev/null UNIX-CONNECT:"$SUPERVISOR_SOCKET" 2>/dev/null
}

# Podman skips a missing hook in silence, and somebody may start the container by hand. An agent without its supervisor
# would only fail later, and less clearly. The hook has it listening before the container starts, so the wait is short.
require_supervisor() {
    local tries=$((10 * ${TEROK_SUPERVISOR_WAIT_S:-3}))
    is_supervised_by_socket || return 0
    until supervisor_answers; do
        if ((tries-- <= 0)); then
            warn "no supervisor answers on $SUPERVISOR_SOCKET: this container was started without its hook, and ends here"
            exit "$NO_SUPERVISOR"
        fi
        sleep 0.1
    done
}

# ---------------------------------------------------------------- permission mode

CLAUDE_SETTINGS_DIR=/etc/claude-code
CLAUDE_SETTINGS='{"permissions":{"defaultMode":"bypassPermissions"}}'

# Written only for unrestricted tasks. The directory may belong to root, so that a restricted agent, which has no
# sudo, cannot write the file itself.
write_claude_settings() {
    [[ ${TEROK_UNRESTRICTED:-} == 1 && -d $CLAUDE_SETTINGS_DIR ]] || return 0
    # shellcheck disable=SC2016 # expanded by the sh below
    local write='umask 022; printf "%s\n" "$1" >"$2.new" && mv -f -- "$2.new" "$2"' as=()
    [[ -w $CLAUDE_SETTINGS_DIR ]] || as=(sudo -n)
    env -u BASH_ENV "${as[@]}" sh -c "$write" sh "$CLAUDE_SETTINGS" "$CLAUDE_SETTINGS_DIR/managed-settings.json" ||
        warn "$CLAUDE_SETTINGS_DIR/managed-settings.json could not be written: Claude will ask for permissions"
}

# ---------------------------------------------------------------- relays and ssh

start_relays() {
    local script
    if script=$(type -P ensure-bridges.sh); then
        # shellcheck source=/dev/null
        source "$script"
    else
        warn 'ensure-bridges.sh is not on PATH: no vault, no ssh agent, no gate'
    fi
    if [[ -S /tmp/ssh-agent.sock ]]; then export SSH_AUTH_SOCK=/tmp/ssh-agent.sock; fi
}

write_ssh_client_config() {
    mkdir -p "$HOME/.ssh"
    chmod 0700 "$HOME/.ssh"
    printf 'Host *\n    StrictHostKeyChecking accept-new\n' >"$HOME/.ssh/config"
    chmod 0644 "$HOME/.ssh/config"
}

# ---------------------------------------------------------------- git

# Whatever stands before the host of a URL may be a token.
redact() { sed -E 's#://[^/[:space:]]*@#://***@#g'; }
shown() { redact <<<"$1"; }

# git without questions, its messages free of tokens, its status kept.
quiet_git() {
    { GIT_TERMINAL_PROMPT=0 GIT_ASKPASS='' SSH_ASKPASS='' command git "$@" 2>&1 >&3 3>&- | redact >&2; } 3>&1
}
repo_git() { quiet_git -C "$REPO_ROOT" "$@"; }

# Sets REPLY to the URL without user name and password.
strip_user_info() {
    REPLY=$1
    if [[ $1 =~ ^([A-Za-z][A-Za-z0-9+.-]*://)([^/]*@)(.*)$ ]]; then REPLY=${BASH_REMATCH[1]}${BASH_REMATCH[3]}; fi
}

# The gate's token is the user name of its URLs and lasts as long as the container, while the repository's
# configuration stays in a folder of the host. So git gets the URL without the token and asks for it when needed.
# shellcheck disable=SC2016 # expanded by git's shell, at the time of use
GATE_HELPER='!f() { test "$1" = get && test -n "$TEROK_GATE_TOKEN" && printf "username=%s\npassword=x\n" "$TEROK_GATE_TOKEN"; }; f'

# Sets REPLY to the URL to hand to git.
without_gate_token() {
    local url=$1 token=${TEROK_GATE_TOKEN:-} site
    REPLY=$url
    [[ -n $token && $url =~ ^(https?://)([^/@:]+)(:[^/@]*)?@([^/]+) ]] || return 0
    [[ ${BASH_REMATCH[2]} == "$token" ]] || return 0
    site=${BASH_REMATCH[1]}${BASH_REMATCH[4]}
    git config --global "credential.$site.helper" "$GATE_HELPER"
    strip_user_info "$url"
}

trust_repo_root() {
    [[ -n $REPO_ROOT ]] && type -P git >/dev/null || return 0
    git config --global --get-all safe.directory 2>/dev/null | grep -Fxq -- "$REPO_ROOT" ||
        git config --global --add safe.directory "$REPO_ROOT"
}

has_ref() { git -C "$REPO_ROOT" rev-parse --verify --quiet "$1^{commit}" >/dev/null 2>&1; }
current_branch() { git -C "$REPO_ROOT" symbolic-ref --short --quiet HEAD 2>/dev/null || true; }
current_origin() { git -C "$REPO_ROOT" config --get remote.origin.url 2>/dev/null || true; }

# set_remote NAME URL
set_remote() {
    if git -C "$REPO_ROOT" config --get "remote.$1.url" >/dev/null 2>&1; then
        git -C "$REPO_ROOT" config --unset-all "remote.$1.pushurl" || true
        git -C "$REPO_ROOT" config --replace-all "remote.$1.url" "$2"
    else
        repo_git remote add -- "$1" "$2"
    fi
}

empty_repo_root() {
    find "$REPO_ROOT" -mindepth 1 -maxdepth 1 -exec rm -rf -- {} +
}

# True when $REPO_ROOT/.git comes from one of the two places it may come from. Tokens change, so they do not count.
origin_is_ours() {
    local origin REPLY
    strip_user_info "$(current_origin)"
    origin=$REPLY
    strip_user_info "$CODE_REPO"
    [[ -n $origin && $origin == "$REPLY" ]] && return 0
    [[ -n $CLONE_FROM ]] || return 1
    strip_user_info "$CLONE_FROM"
    [[ $origin == "$REPLY" ]]
}

# A clone that was killed early leaves a repository without a single ref and without files.
clone_was_interrupted() {
    [[ -d $REPO_ROOT/.git ]] && ! has_ref HEAD &&
        [[ -z $(find "$REPO_ROOT" -mindepth 1 -maxdepth 1 ! -name .git ! -name "$MARKER_NAME" -print -quit) ]] &&
        [[ -z $(git -C "$REPO_ROOT" for-each-ref --count=1 2>/dev/null) ]]
}

refuse_foreign_files() {
    local found
    found=$(find "$REPO_ROOT" -mindepth 1 -maxdepth 1 -printf '   %f\n' | sort)
    [[ -n $found ]] || return 0
    warn "$REPO_ROOT is to hold a new clone but is not empty:"
    printf '%s\n' "$found" >&2
    exit 128
}

# Sets CLONED_BRANCH to the branch asked for, or to nothing when origin does not have it.
clone_into_root() {
    local source=$1 messages status=0
    CLONED_BRANCH=$GIT_BRANCH
    say "cloning $(shown "$source")${GIT_BRANCH:+, branch $GIT_BRANCH}"
    messages=$(LC_ALL=C GIT_TERMINAL_PROMPT=0 GIT_ASKPASS='' SSH_ASKPASS='' git clone --quiet --recurse-submodules \
        ${GIT_BRANCH:+--branch="$GIT_BRANCH"} -- "$source" "$REPO_ROOT" 2>&1) || status=$?
    if ((status != 0)) && [[ -n $GIT_BRANCH && $messages =~ Remote\ branch\ .*\ not\ found|couldn\'t\ find\ remote\ ref ]]; then
        warn "branch $GIT_BRANCH does not exist there, taking the default branch"
        CLONED_BRANCH=""
        status=0
        messages=$(LC_ALL=C GIT_TERMINAL_PROMPT=0 GIT_ASKPASS='' SSH_ASKPASS='' git clone --quiet --recurse-submodules \
            -- "$source" "$REPO_ROOT" 2>&1) || status=$?
    fi
    [[ -z $messages ]] || redact <<<"$messages" >&2
    ((status == 0)) || exit "$status"
}

clone_new() {
    local source=${CLONE_FROM:-$CODE_REPO} CLONED_BRANCH
    rm -f -- "$REPO_ROOT/$MARKER_NAME"
    refuse_foreign_files
    clone_into_root "$source"
    if [[ $source != "$CODE_REPO" ]]; then
        set_remote origin "$CODE_REPO"
        say "origin is $(shown "$CODE_REPO")"
        repo_git fetch --quiet --prune origin || warn 'origin could not be reached, staying with what the clone has'
    elif [[ -n $CLONED_BRANCH || -z $GIT_BRANCH ]]; then
        return 0
    fi
    [[ -n $GIT_BRANCH ]] || return 0
    if has_ref "refs/remotes/origin/$GIT_BRANCH"; then
        repo_git checkout --quiet -B "$GIT_BRANCH" "origin/$GIT_BRANCH"
    elif [[ -z $CLONED_BRANCH ]]; then
        warn "staying on branch $(current_branch)"
    fi
}

fetch_origin() {
    say "fetching $(shown "$CODE_REPO")"
    repo_git fetch --quiet --prune origin
}

remove_untracked() {
    repo_git clean --quiet -ffd --exclude="/$MARKER_NAME" || warn 'untracked files could not be removed'
}

reset_to_counterpart() {
    local branch
    branch=$(current_branch)
    if [[ -n $branch ]] && has_ref "refs/remotes/origin/$branch"; then
        repo_git reset --quiet --hard "origin/$branch"
    else
        warn "origin has no branch ${branch:-for a detached HEAD}, staying at the commit that is here"
    fi
}

# A workspace the host has filled from its cache: make it equal to what origin has now.
refresh_seeded() {
    local done=1
    fetch_origin
    remove_untracked
    if [[ -n $GIT_BRANCH ]] && has_ref "refs/remotes/origin/$GIT_BRANCH"; then
        repo_git checkout --quiet --force -B "$GIT_BRANCH" "origin/$GIT_BRANCH" || done=""
    else
        [[ -z $GIT_BRANCH ]] || warn "branch $GIT_BRANCH does not exist on origin"
        reset_to_counterpart
    fi
    if [[ -z $done ]]; then
        warn "branch $GIT_BRANCH could not be checked out; the next start tries again"
        return 0
    fi
    if [[ -f $REPO_ROOT/.gitmodules ]]; then
        repo_git submodule --quiet update --init --recursive --force || warn 'submodules could not be updated'
    fi
    remove_untracked
    rm -f -- "$REPO_ROOT/$MARKER_NAME"
}

# A task that was here before: its work stays unless the operator said otherwise.
refresh_restarted() {
    fetch_origin
    [[ -n $GIT_BRANCH ]] || return 0
    case $GIT_RESET_MODE in
        hard) repo_git reset --quiet --hard "origin/$GIT_BRANCH" || true ;;
        soft) repo_git reset --quiet --mixed "origin/$GIT_BRANCH" || true ;;
    esac
}

# Before the first fetch: a container made anew has new tokens, and the old URL would be refused.
point_origin_at_code_repo() {
    [[ $(current_origin) == "$CODE_REPO" ]] && return 0
    say "origin is $(shown "$CODE_REPO")"
    set_remote origin "$CODE_REPO"
}

sync_repo() {
    local marker=$REPO_ROOT/$MARKER_NAME REPLY
    without_gate_token "$CODE_REPO"
    CODE_REPO=$REPLY
    without_gate_token "$CLONE_FROM"
    CLONE_FROM=$REPLY

    if [[ -e $REPO_ROOT/.git ]] && { [[ -e $marker ]] && ! origin_is_ours || clone_was_interrupted; }; then
        warn 'the repository found here is not usable for this task and is replaced'
        empty_repo_root
    fi
    if [[ ! -e $REPO_ROOT/.git ]]; then
        clone_new
    else
        point_origin_at_code_repo
        if [[ -e $marker ]]; then refresh_seeded; else refresh_restarted; fi
    fi
    add_remotes
    report_freshness
}

add_remotes() {
    local REPLY
    if [[ -n $EXTERNAL_REMOTE_URL ]]; then
        set_remote external "$EXTERNAL_REMOTE_URL"
        say "remote external is $(shown "$EXTERNAL_REMOTE_URL")"
    fi
    if [[ -n $GATE_REMOTE_URL ]]; then
        without_gate_token "$GATE_REMOTE_URL"
        set_remote gate "$REPLY"
        say "remote gate is $(shown "$REPLY")"
    fi
}

# A hint only: the gate may lag behind the upstream it mirrors.
report_freshness() {
    [[ -n $EXTERNAL_REMOTE_URL ]] || return 0
    local branch=${GIT_BRANCH:-$(current_branch)} here there behind
    here=$(git -C "$REPO_ROOT" rev-parse --quiet --verify HEAD 2>/dev/null) || return 0
    there=$(GIT_TERMINAL_PROMPT=0 timeout 15 git -C "$REPO_ROOT" ls-remote external "refs/heads/$branch" 2>/dev/null) || {
        say 'upstream cannot be reached from here, freshness unknown'
        return 0
    }
    there=${there%%[[:space:]]*}
    if [[ -z $there ]]; then
        say "upstream has no branch $branch"
    elif [[ $there == "$here" ]]; then
        say "up to date with upstream (${here:0:8})"
    elif behind=$(git -C "$REPO_ROOT" rev-list --count "$here..$there" 2>/dev/null); then
        say "$behind commits behind upstream (${here:0:8}, upstream ${there:0:8}); gate-sync on the host brings them in"
    else
        say "maybe behind upstream (${here:0:8}, upstream ${there:0:8}); gate-sync on the host brings news in"
    fi
}

# ---------------------------------------------------------------- the rest

report_tools() {
    local tool line
    for tool in gcc gfortran cmake clang-format-20 nvidia-smi nvcc nvc nvfortran; do
        type -P "$tool" >/dev/null || continue
        line=$(timeout 5 "$tool" --version 2>/dev/null </dev/null | grep -m1 .) || line='does not answer'
        say "$tool: $line"
    done
}

main() {
    become_dev_in_vm "$@"
    case ${TEROK_CONTAINER_PROTOCOL:-1} in
        1) ;;
        *) warn "the host speaks container protocol $TEROK_CONTAINER_PROTOCOL, this image 1: rebuild the image" ;;
    esac
    require_supervisor
    write_claude_settings
    start_relays
    write_ssh_client_config
    trust_repo_root
    if [[ -n $REPO_ROOT && -n $CODE_REPO ]]; then sync_repo; fi
    report_tools || true
    printf '>> init complete\n'
    # Without a terminal nobody would ever end that shell, and the command after this script would never start.
    if [[ -t 0 ]]; then exec bash; fi
}

main "$@"
