"""Tasks: creation, runners, state, logs, archive."""

from terok.lib.api._lookup import lazily

__all__, __getattr__, __dir__ = lazily(__name__, "task")
