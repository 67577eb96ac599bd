"""Layered mappings; they belong to :mod:`terok_util.config_stack`."""

from terok_util.config_stack import ConfigScope, ConfigStack, deep_merge, load_json_scope, load_yaml_scope

__all__ = ["ConfigScope", "ConfigStack", "deep_merge", "load_json_scope", "load_yaml_scope"]
