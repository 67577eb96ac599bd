"""What front ends do, apart from how they show it."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
