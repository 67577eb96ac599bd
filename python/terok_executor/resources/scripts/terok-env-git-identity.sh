# shellcheck shell=bash
#
# _terok_apply_git_identity NAME EMAIL decides, from TEROK_GIT_AUTHORSHIP, who is author and who is committer of
# what the agent NAME commits. It changes the current shell; call it in a subshell.

# _terok_git_role AUTHOR|COMMITTER NAME EMAIL
_terok_git_role() {
    export "GIT_$1_NAME=$2" "GIT_$1_EMAIL=$3"
}

_terok_apply_git_identity() {
    local agent=("$1" "$2")
    local human=("${HUMAN_GIT_NAME:-Nobody}" "${HUMAN_GIT_EMAIL:-nobody@localhost}")
    unset GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL
    case ${TEROK_GIT_AUTHORSHIP:-} in
        human-agent | human) _terok_git_role AUTHOR "${human[@]}" ;;
        *) _terok_git_role AUTHOR "${agent[@]}" ;;
    esac
    case ${TEROK_GIT_AUTHORSHIP:-} in
        human-agent | agent) _terok_git_role COMMITTER "${agent[@]}" ;;
        *) _terok_git_role COMMITTER "${human[@]}" ;;
    esac
}
