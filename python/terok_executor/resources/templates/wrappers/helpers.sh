# Shell functions around the coding agents of this container. Made anew for every task; edits are lost.
# The exports live in subshells on purpose.
# shellcheck shell=bash disable=SC2030,SC2031

# Resume a session; when that fails at once, forget the session and start over.
#   $1 session file   $2 resume option   $3... command, with the option and the session id in it
_terok_resume_or_fresh() {
    local session_file="$1" resume_flag="$2" session_id started status word
    shift 2
    session_id="$(cat "$session_file" 2>/dev/null)"
    started=$SECONDS
    "$@"
    status=$?
    if ((status == 0 || SECONDS - started >= 2)) || [[ ! -s $session_file ]]; then
        return "$status"
    fi
    printf 'terok: session %q cannot be resumed, beginning a new one\n' "$session_id" >&2
    rm -f -- "$session_file"
    local -a fresh=()
    local removed=""
    while (($#)); do
        word="$1"
        shift
        if [[ -z $removed && $word == "$resume_flag" && ${1-} == "$session_id" ]]; then
            removed=1
            shift
            continue
        fi
        fresh+=("$word")
    done
    "${fresh[@]}"
}

# Let Vibe work in a directory without asking; containers share the file, hence the lock.
_terok_trust_workspace_for_vibe() {
    local script="/usr/local/share/terok/terok-trust-workspace.py" list="$HOME/.vibe/trusted_folders.toml"
    [[ -x $script ]] || return 0
    mkdir -p -- "$HOME/.vibe" || return 0
    (
        flock -x 9 || exit 0
        "$script" "$1" "$list"
    ) 9>>"$list.lock"
}
