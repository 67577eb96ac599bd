"""What a host needs: setup state, SELinux, services, settings."""

from terok.lib.api._lookup import lazily

__all__, __getattr__, __dir__ = lazily(__name__, "setup")
