"""The library below the front ends."""
