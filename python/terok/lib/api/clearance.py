"""Live verdicts on egress: subscribers, notifiers and their services."""

from terok.lib.api._lookup import lazily

__all__, __getattr__, __dir__ = lazily(__name__, "clearance")
