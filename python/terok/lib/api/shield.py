"""The egress firewall and its commands."""

from terok.lib.api._lookup import lazily

__all__, __getattr__, __dir__ = lazily(__name__, "shield")
