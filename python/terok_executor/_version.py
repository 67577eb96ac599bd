"""The version of the distribution."""


def _installed() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("terok-executor")
    except PackageNotFoundError:
        return "0.1.0"


__version__ = _installed()
