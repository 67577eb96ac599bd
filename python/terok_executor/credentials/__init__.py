"""Credentials: how users authenticate, where keys are kept, and what must not be left lying about."""
