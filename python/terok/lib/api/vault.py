"""The vault for front ends: its status in both shapes, opening it, moving its passphrase."""

from terok.lib.api._lookup import lazily

__all__, __getattr__, __dir__ = lazily(__name__, "vault")
