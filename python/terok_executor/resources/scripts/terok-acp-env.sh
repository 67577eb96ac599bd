# shellcheck shell=bash
#
# First line of every ACP launcher: commits made behind the adapter carry the agent's name. The launcher sets
# TEROK_AGENT_NAME and TEROK_AGENT_EMAIL and then sources this file. Nothing goes to stdout, which belongs to the protocol.

: "${TEROK_AGENT_NAME:?the launcher has to name its agent}"
: "${TEROK_AGENT_EMAIL:?the launcher has to give an address for its agent}"

# shellcheck disable=SC2034 # for the launchers
TEROK_INSTRUCTIONS=/home/dev/.terok/instructions.md

if [[ -r /usr/local/share/terok/terok-env-git-identity.sh ]]; then
    # shellcheck source-path=SCRIPTDIR source=terok-env-git-identity.sh
    source /usr/local/share/terok/terok-env-git-identity.sh
    _terok_apply_git_identity "$TEROK_AGENT_NAME" "$TEROK_AGENT_EMAIL"
fi
