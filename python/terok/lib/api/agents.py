"""Agents, images, credentials: what front ends use of the executor."""

from terok.lib.api._lookup import lazily

__all__, __getattr__, __dir__ = lazily(__name__, "agents")
