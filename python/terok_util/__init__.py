"""Foundations shared by the packages of the family: command trees, layered configuration, paths, small file helpers.

Names are looked up when they are first used, so importing the package costs next to nothing.
"""

from terok_util.lazy import lazily

_HOMES = {
    "ArgDef": "cli_types",
    "CommandDef": "cli_types",
    "CommandTree": "cli_types",
    "ConfigStack": "config_stack",
    "KeyRow": "cli_types",
    "deep_merge": "config_stack",
    "ensure_dir": "fs",
    "ensure_dir_writable": "fs",
    "config_file_paths": "paths",
    "host_uid": "user",
    "namespace_config_dir": "paths",
    "namespace_runtime_dir": "paths",
    "namespace_state_dir": "paths",
    "podman_userns_args": "user",
    "read_config_section": "paths",
    "read_config_top_level": "paths",
    "sanitize_tty": "tty",
    "write_sensitive_file": "fs",
}

__all__, _find, __dir__ = lazily(__name__, _HOMES)


def __getattr__(name: str):  # type: ignore[no-untyped-def] # anything; `typing` is not loaded for one word
    if name in _HOMES.values():
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    return _find(name)
