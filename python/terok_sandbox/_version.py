"""The version of the distribution that provides this package."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("terok-sandbox")
except PackageNotFoundError:
    __version__ = "0.1.0"
