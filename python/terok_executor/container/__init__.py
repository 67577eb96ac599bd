"""Containers: images, launching, following, listing, stopping."""
