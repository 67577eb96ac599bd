"""What the signer's tests are made of: keys from OpenSSL, a vault that holds them, OpenSSH's clients, a real sshd.

Keys are made without the vault's own code, so that a mistake in it cannot hide. `Sshd` runs as the ordinary user that
runs the tests, on a high port, with a host key of its own, and lets in whoever signs with a key it was given.
"""

from __future__ import annotations

import base64
import hashlib
import os
import pwd
import shutil
import socket
import struct
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from host.ports import free_port

BRIDGE = Path(__file__).parents[3] / "python/terok_sandbox/resources/bridges/ssh-agent-bridge.sh"
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
MISSING = [name for name in ("ssh", "ssh-add", "ssh-keygen", "socat", "openssl") if shutil.which(name) is None]


def run(*command: str | Path, check: bool = True, **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run a command to its end with its output captured, as text unless `text=False`."""
    options = {"text": True, "timeout": 60, **options}
    options.setdefault("stdin", None if "input" in options else subprocess.DEVNULL)
    done = subprocess.run([str(word) for word in command], capture_output=True, **options)
    assert not check or done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr}"
    return done


def strings(*parts: bytes) -> bytes:
    """SSH's encoding of byte strings."""
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


@dataclass(frozen=True)
class Key:
    """A key as the vault stores it."""

    kind: str
    der: bytes
    blob: bytes

    @property
    def fingerprint(self) -> str:
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def public_line(self) -> str:
        (length,) = struct.unpack(">I", self.blob[:4])
        return f"{self.blob[4 : 4 + length].decode()} {base64.b64encode(self.blob).decode()}"

    def traces(self) -> list[bytes]:
        """Texts of which one is in every usual form of the private key."""
        # Of an RSA key: from the middle, where the private exponent lies; the front is public.
        secret = self.der[-32:] if self.kind == "ed25519" else self.der[len(self.der) // 2 :][:32]
        encoded = [base64.b64encode(secret[start:30]).strip(b"=")[: 4 * ((30 - start) // 3)] for start in range(3)]
        return [secret, secret.hex().encode(), *encoded]


def ed25519() -> Key:
    """A fresh ed25519 key: 48 bytes of PKCS#8."""
    der = run("openssl", "genpkey", "-algorithm", "ed25519", "-outform", "DER", text=False).stdout
    public = run("openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER", input=der, text=False).stdout
    return Key("ed25519", der, strings(b"ssh-ed25519", public[-32:]))


def rsa(bits: int = 2048) -> Key:
    """A fresh RSA key."""
    pem = run("openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}").stdout
    topk8 = ("openssl", "pkcs8", "-topk8", "-nocrypt", "-outform", "DER")
    der = run(*topk8, input=pem.encode(), text=False).stdout
    public = run("openssl", "rsa", "-inform", "DER", "-RSAPublicKey_out", "-outform", "DER", input=der, text=False)
    inner, _ = _der_item(public.stdout)
    modulus, rest = _der_item(inner)
    exponent, _ = _der_item(rest)
    return Key("rsa", der, strings(b"ssh-rsa", exponent, modulus))


def ecdsa() -> Key:
    """A fresh ECDSA key on P-256."""
    made = run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256").stdout.encode()
    der = run("openssl", "pkcs8", "-topk8", "-nocrypt", "-outform", "DER", input=made, text=False).stdout
    public = run("openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER", input=der, text=False).stdout
    return Key("ecdsa", der, strings(b"ecdsa-sha2-nistp256", b"nistp256", public[-65:]))


def _der_item(data: bytes) -> tuple[bytes, bytes]:
    """The first item's content, and what follows it."""
    length, at = data[1], 2
    if length >= 0x80:
        at += length - 0x80
        length = int.from_bytes(data[2:at], "big")
    return data[at : at + length], data[at + length :]


def add(db: Any, scope: str, key: Key, comment: str = "") -> int:
    """Store a key and let *scope* use it."""
    key_id = db.store_ssh_key(key.kind, key.der, key.blob, comment, key.fingerprint)
    db.assign_ssh_key(scope, key_id)
    return key_id


class Bridged:
    """The agent socket a container has: its own bridge script in front of a signer that wants a token.

    Only a container knows the host by its name, so that the script's copy here has the loopback address instead.
    """

    def __init__(self, folder: Path, token: str, **where: str) -> None:
        self.socket = folder / "bridged.sock"
        bridge = folder / "bridge.sh"
        bridge.write_text(BRIDGE.read_text().replace("host.containers.internal", "127.0.0.1"))
        env = dict(os.environ, TEROK_SSH_SIGNER_TOKEN=token, **where)
        listen = f"UNIX-LISTEN:{self.socket},fork,mode=600"
        self._process = subprocess.Popen(["socat", listen, f"EXEC:bash {bridge}"], env=env)
        wait_for(self.socket.exists, "the bridge's socket")

    def __enter__(self) -> Path:
        return self.socket

    def __exit__(self, *_exc: object) -> None:
        self._process.terminate()
        self._process.wait()


def wait_for(happens: Any, what: str, limit: float = 60) -> None:
    deadline = time.monotonic() + limit
    while not happens():
        assert time.monotonic() < deadline, f"not within {limit} s: {what}"
        time.sleep(0.02)


def outward_address() -> str | None:
    """This machine's address on its default route, which containers can reach; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


@dataclass
class Sshd:
    """A real sshd on *address*; *keys* may log in. A context manager."""

    folder: Path
    keys: list[Key]
    address: str = "127.0.0.1"
    port: int = 0
    user: str = field(default_factory=lambda: pwd.getpwuid(os.getuid()).pw_name)
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Sshd:
        assert SSHD is not None
        self.folder.mkdir(mode=0o700)
        self.port = free_port(self.address)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "host_key")
        allowed = self.folder / "authorized_keys"
        allowed.write_text("".join(f"{key.public_line}\n" for key in self.keys))
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        settings = {
            "ListenAddress": f"{self.address}:{self.port}",
            "HostKey": self.folder / "host_key",
            "PidFile": "none",
            "AuthorizedKeysFile": allowed,
            "AuthenticationMethods": "publickey",
            "StrictModes": "no",
            "UsePAM": "no",
            "PermitRootLogin": "prohibit-password",
            "LogLevel": "VERBOSE",
        }
        config = self.folder / "sshd_config"
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        with open(self.folder / "log", "wb") as log:
            self._process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(config)], stderr=log, env=self._environment())
        wait_for(self._answers, f"sshd at {self.address}:{self.port}: {self.log}")
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    @staticmethod
    def _environment() -> dict[str, str]:
        return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), timeout=1) as client:
                return client.recv(4) == b"SSH-"
        except OSError:
            return False

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def known_hosts_line(self) -> str:
        kind, blob, *_ = (self.folder / "host_key.pub").read_text().split()
        return f"[{self.address}]:{self.port} {kind} {blob}\n"

    def url(self, path: Path) -> str:
        return f"ssh://{self.user}@{self.address}:{self.port}{path}"

    def command(self, *options: str) -> list[str]:
        """An `ssh` that reads no configuration of the user's, and knows this host."""
        known = self.folder / "known_hosts"
        known.write_text(self.known_hosts_line)
        settled = ("BatchMode=yes", "IdentityFile=none", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}")
        words = [word for option in (*settled, *options) for word in ("-o", option)]
        return ["ssh", "-F", "/dev/null", *words]
