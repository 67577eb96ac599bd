"""The per-container supervisor as seen from the host: installing its OCI hook, and ending it.

The supervisor itself is the executable ``terok_native/bin/terok-supervisord``; Podman's hook starts one per container.
The hook is ``terok-supervisor`` beside it.
"""
