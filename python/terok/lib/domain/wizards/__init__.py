"""Conversations that make something new."""
