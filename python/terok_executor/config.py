"""Where the executor writes configuration."""

from pathlib import Path


def writable_config_path() -> Path:
    """Return ``$TEROK_CONFIG_FILE``, else ``config.yml`` in the configuration directory of the family."""
    from terok_native import _lib

    return _lib.base_config_writable_file()
