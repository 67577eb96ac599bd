"""The names that front ends of the family import; other distributions may add modules of their own below it."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
