"""One module for each package below the library: the names used of it, replaceable in one place."""
