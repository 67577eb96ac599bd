# shellcheck shell=sh
# Environment of the Pi agent, read by login shells of every kind; no output.

# Pi would look for news about itself and its models at every start.
export PI_OFFLINE=1

if [ -n "${CLAUDE_CODE_OAUTH_TOKEN:-}" ] && [ -z "${ANTHROPIC_OAUTH_TOKEN:-}" ]; then
    export ANTHROPIC_OAUTH_TOKEN="$CLAUDE_CODE_OAUTH_TOKEN"
fi

# ~/.pi comes from the host, so the link cannot be part of the image.
if [ ! -e "$HOME/.pi/agent/extensions/terok-vault-routes.mjs" ]; then
    {
        mkdir -p "$HOME/.pi/agent/extensions" &&
            ln -sfn /usr/local/share/terok/pi-extensions/vault-routes.mjs \
                "$HOME/.pi/agent/extensions/terok-vault-routes.mjs"
    } >/dev/null 2>&1 || true
fi
