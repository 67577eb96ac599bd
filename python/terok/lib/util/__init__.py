"""Small things that every part of the library needs, one module each."""
