"""Whether the operator keeps a copy of the passphrase off this host: the passphrase itself is the recovery key.

The marker that says so is an empty file: anything derived from the passphrase would let others test guesses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from terok_native.kept import kept

if TYPE_CHECKING:
    from terok_sandbox.config import PassphraseSource, SandboxConfig


def _config(cfg: SandboxConfig | None) -> SandboxConfig:
    from terok_sandbox.config import SandboxConfig

    return cfg or SandboxConfig()


@kept
@dataclass(frozen=True)
class RecoveryStatus:
    """*acknowledged*: the operator has said that a copy exists; *source*: the tier that has the passphrase now."""

    acknowledged: bool
    source: PassphraseSource | None

    @property
    def session_only(self) -> bool:
        """Whether the passphrase goes with this login session."""
        return self.source == "session-file"

    @property
    def urgent(self) -> bool:
        """Whether the end of this session may lock the vault for good."""
        return not self.acknowledged and self.session_only

    @classmethod
    def load(cls, cfg: SandboxConfig | None = None) -> RecoveryStatus:
        """Look at marker and tiers; a tier that fails counts as none. Never asks on the terminal."""
        cfg = _config(cfg)
        try:
            source = cfg.resolve_passphrase_with_source()[1]
        except Exception:
            source = None
        return cls(acknowledged=cls.is_acknowledged(cfg), source=source)

    @staticmethod
    def is_acknowledged(cfg: SandboxConfig | None = None) -> bool:
        """Return whether the marker exists; ``False`` also where it cannot be looked for."""
        try:
            return _config(cfg).vault_recovery_marker_file.exists()
        except OSError:
            return False

    @staticmethod
    def acknowledge(cfg: SandboxConfig | None = None) -> None:
        """Write the marker (empty, 0600); the vault may be locked. Raises ``OSError`` when it cannot be written."""
        from terok_native import _lib

        _lib.passphrase_acknowledge(_config(cfg).vault_recovery_marker_file)
