"""A session bus that accepts connections and then says nothing: the keyring is given up, the next tier is asked."""

import socket
import subprocess
import sys
import time
from pathlib import Path

ASK = """
from terok_sandbox.vault.store.encryption import resolve_passphrase_with_source
print(resolve_passphrase_with_source(use_keyring=True, config_fallback="next"))
"""


# improves: 21-3.2-keyring-timeout
def test_a_keyring_that_does_not_answer_is_given_up_after_ten_seconds(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bus:
        bus.bind(str(tmp_path / "bus"))
        bus.listen(8)
        env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
        env["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={tmp_path}/bus"
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", ASK], env=env, capture_output=True, text=True, timeout=180, check=True
        )
        took = time.monotonic() - began
        assert bus.accept(), "the bus was asked"
    assert done.stdout == "('next', 'config')\n", done.stderr
    assert 9.5 < took < 60
