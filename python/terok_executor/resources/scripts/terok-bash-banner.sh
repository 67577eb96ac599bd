# shellcheck shell=bash

# terok: greeting of the first interactive shell on a terminal.
if [[ $- == *i* && -t 1 && -z ${_TEROK_BANNER_SHOWN:-} ]]; then
    export _TEROK_BANNER_SHOWN=1
    _TEROK_LOGIN=1 hilfe --kurz 2>/dev/null || true
    if [[ -s /home/dev/.terok/initial-prompt.txt ]]; then
        printf '\nWaiting for the first agent you start (/home/dev/.terok/initial-prompt.txt):\n\n'
        cat /home/dev/.terok/initial-prompt.txt 2>/dev/null || true
        printf '\n'
    fi
fi
