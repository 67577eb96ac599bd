"""What a run needs, checked one by one, and repaired with the user's consent."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from terok_util.shell import command_line
from terok_util.tty import clean_text

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig
    from terok_sandbox.vault.store.db import CredentialDB

_PODMAN_LIMIT_S = 10
_NAME_WIDTH = 22


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check."""

    name: str
    ok: bool
    message: str


@dataclass(frozen=True)
class Preflight:
    """The checks in front of one run.

    *interactive* allows questions; *assume_yes* answers them all. *cfg* is the configuration that is checked (default:
    the one in force); *image* says whether the run needs the agent image.
    """

    provider: str
    base_image: str = "fedora:44"
    family: str | None = None
    interactive: bool = True
    assume_yes: bool = False
    credential_set: str = "default"
    mounts_dir: Path | None = None
    cfg: SandboxConfig | None = None
    image: bool = True

    def run(self) -> bool:
        """Check everything and offer repairs; true when nothing mandatory is missing."""
        podman = self.check_podman()
        self.report(podman)
        if not podman.ok:
            return False
        self.report(self.check_git())
        mandatory = [self._settle(self.check_sandbox_services, self._fix_services)]
        if self.image:
            mandatory.append(self._settle(self.check_images, self._fix_images))
        self._settle(self.check_ssh_key, self._fix_ssh_key)
        self._settle(self.check_credentials, self._fix_credentials)
        return all(mandatory)

    def report(self, result: CheckResult) -> None:
        """Print one line for one check."""
        print(f"  {result.name:<{_NAME_WIDTH}}{'ok' if result.ok else 'FAIL'} ({result.message})")

    # -- checks --------------------------------------------------------------------------------------------------------

    def check_podman(self) -> CheckResult:
        """Podman is installed, answers, and is not too old."""
        from terok_sandbox.prerequisites import OLDEST_PODMAN, version_in

        if shutil.which("podman") is None:
            return CheckResult("podman", False, "not installed; see https://podman.io/docs/installation")
        command = ["podman", "version", "--format", "{{.Client.Version}}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_PODMAN_LIMIT_S)
        except (OSError, subprocess.SubprocessError) as error:
            return CheckResult("podman", False, str(error))
        if done.returncode != 0:
            return CheckResult("podman", False, clean_text(done.stderr).strip() or "it does not answer")
        version = version_in(done.stdout)
        if version is not None and version[:2] < OLDEST_PODMAN:
            return CheckResult("podman", False, f"{done.stdout.strip()} is too old: 4.3 or newer is needed")
        return CheckResult("podman", True, done.stdout.strip())

    def check_git(self) -> CheckResult:
        """Git is installed (only informational)."""
        found = shutil.which("git")
        return CheckResult("git", found is not None, found or "not installed; repositories cannot be mirrored")

    def check_sandbox_services(self) -> CheckResult:
        """The supervisor's hooks are installed and podman will run them."""
        from terok_sandbox.supervisor.install import check_supervisor_hooks

        problem = check_supervisor_hooks()
        return CheckResult("supervisor hooks", problem is None, problem or "installed")

    def check_images(self) -> CheckResult:
        """The default agent image exists."""
        from terok_executor.container.build import ImageBuilder

        tag = ImageBuilder(self.base_image, self.family).l1_tag()
        try:
            done = subprocess.run(["podman", "image", "exists", tag], capture_output=True, timeout=_PODMAN_LIMIT_S)
        except (OSError, subprocess.SubprocessError) as error:
            return CheckResult("agent image", False, f"{tag} cannot be looked for: {error}")
        return CheckResult("agent image", done.returncode == 0, tag if done.returncode == 0 else f"{tag} is not built")

    def check_ssh_key(self, scope: str = "standalone") -> CheckResult:
        """The vault holds an SSH key for *scope* (optional)."""

        def find(db: CredentialDB) -> tuple[bool, str]:
            found = db.list_ssh_keys_for_scope(scope)
            add = command_line("terok-sandbox", "ssh", "add", scope)
            return bool(found), found[-1].fingerprint if found else f"none; `{add}`"

        return self._ask_vault("ssh key", find)

    def check_credentials(self) -> CheckResult:
        """The vault holds a credential for the provider (optional)."""

        def find(db: CredentialDB) -> tuple[bool, str]:
            stored = db.load_credential(self.credential_set, self.provider) is not None
            store = command_line("terok-executor", "auth", self.provider, "--api-key", "-")
            return stored, "stored" if stored else f"none; `{store}`"

        return self._ask_vault(f"credential {self.provider}", find)

    def _ask_vault(self, name: str, question: Callable[[CredentialDB], tuple[bool, str]]) -> CheckResult:
        """Ask the vault, which is closed again in any case; one that cannot be asked is an answer too."""
        cfg = self._config()
        if not cfg.db_path.exists():
            return CheckResult(name, False, "the vault does not exist yet")
        try:
            db = cfg.open_credential_db()
            try:
                return CheckResult(name, *question(db))
            finally:
                db.close()
        except (RuntimeError, OSError) as error:
            return CheckResult(name, False, f"the vault is unavailable: {str(error).splitlines()[0]}")

    def _config(self) -> SandboxConfig:
        from terok_executor.integrations import sandbox as catalogue

        return self.cfg or catalogue.SandboxConfig()

    # -- repairs -------------------------------------------------------------------------------------------------------

    def _settle(self, check: Callable[[], CheckResult], fix: Callable[[], bool] | None) -> bool:
        """Report a check; when it failed and a repair is agreed to, repair and check again."""
        result = check()
        self.report(result)
        if result.ok or fix is None or not self._agreed(result):
            return result.ok
        if not fix():
            return False
        again = check()
        self.report(again)
        return again.ok

    def _agreed(self, result: CheckResult) -> bool:
        if self.assume_yes:
            return True
        if not self.interactive:
            return False
        try:
            answer = input(f"  repair {result.name} now? [Y/n] ")
        except (EOFError, KeyboardInterrupt):
            return False
        return answer.strip().lower() in ("", "y", "yes")

    def _fix_services(self) -> bool:
        from terok_executor.sandbox import ensure_sandbox_ready

        return _attempt(lambda: ensure_sandbox_ready(cfg=self.cfg))

    def _fix_images(self) -> bool:
        from terok_executor.container.build import ImageBuilder

        return _attempt(lambda: ImageBuilder(self.base_image, self.family).ensure_default_l1())

    def _fix_ssh_key(self, scope: str = "standalone") -> bool:
        from terok_sandbox.vault.ssh.manager import SSHManager

        def make() -> None:
            with SSHManager.open_for_config(scope=scope, cfg=self._config()) as manager:
                print(f"  give this key to your forge: {manager.init()['public_line']}")

        return _attempt(make)

    def _fix_credentials(self) -> bool:
        """A login needs a person; without one the missing credential stays, and the run goes on."""
        if not self.interactive or not self.provider:
            return False
        import getpass

        from terok_executor.credentials.auth import store_api_key

        try:
            key = getpass.getpass(f"  API key of {self.provider} (empty to skip): ").strip()
        except (EOFError, KeyboardInterrupt):
            return False
        return bool(key) and _attempt(lambda: store_api_key(self.provider, key, self.credential_set))


def _attempt(action: Callable[[], object]) -> bool:
    """Run a repair; a failure is reported, never raised."""
    try:
        action()
    except (SystemExit, Exception) as error:
        print(f"  could not be repaired: {error}")
        return False
    return True
