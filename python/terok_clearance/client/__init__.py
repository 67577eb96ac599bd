"""Listening to the events of containers."""
