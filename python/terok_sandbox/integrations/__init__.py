"""Connections from the sandbox to the packages around it."""
