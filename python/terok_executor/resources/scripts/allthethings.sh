#!/usr/bin/env bash
# A banner, nothing else.
colours=(31 33 32 36 34 35)
words=('ALL' 'THE' 'THINGS')
for i in "${!words[@]}"; do
    printf '\e[1;%sm  %s\e[0m' "${colours[i * 2]}" "${words[i]}"
done
printf '\n'
for ((i = 0; i < 24; i++)); do
    printf '\e[%sm=\e[0m' "${colours[i % ${#colours[@]}]}"
done
printf '\n'
