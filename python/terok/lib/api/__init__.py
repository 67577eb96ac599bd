"""The stable names for front ends; each is looked up when it is first used."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)

_HOMES = {
    "NoPassphraseError": "vault",
    "RecoveryStatus": "vault",
    "VaultManager": "vault",
    "VaultStatus": "vault",
    "VaultStatusSnapshot": "vault",
    "WrongPassphraseError": "vault",
    "handle_vault_seal": "vault",
    "handle_vault_to_keyring": "vault",
    "vault_db": "vault",
}


def __getattr__(name: str):  # type: ignore[no-untyped-def] # anything; `typing` is not loaded for one word
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
