"""The vault as Python sees it: the encrypted store, and the broker that serves containers from it."""
