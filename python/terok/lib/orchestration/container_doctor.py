"""Checks one task's container, from inside and from the host, and mends what can be mended.

Every probe has a limit; what cannot be asked is a warning that says why. Whatever the container answers is data: it is
cleaned before it is shown, and nothing of it is run.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from terok_native.kept import kept
from terok_sandbox.doctor import CheckVerdict, DoctorCheck

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig

    from terok.lib.core.project_model import ProjectConfig
    from terok.lib.util.check_reporter import CheckReporter

__all__ = ["CheckVerdict", "ContainerDoctor", "DoctorCheck", "run_container_doctor"]

_PROBE_LIMIT_S = 10
_REACH_LIMIT_S = 2
_GATE_HOST, _GATE_PORT = "localhost", 9418
#: Category and beginning of the label, and what the group of such checks is called.
_GROUPS = (
    ("mount", "Credential file (", "Credential files"),
    ("env", "Phantom token (", "Phantom tokens"),
    ("env", "Base URL (", "Base URLs"),
    ("bridge", "", "Bridges"),
    ("git", "", "Git config"),
    ("network", "", "Port drift"),
)
_Row = tuple[str, str, str]


@kept
@dataclass(frozen=True)
class ContainerDoctor:
    """The doctor of one task."""

    project_id: str
    task_id: str

    def run(self, *, fix: bool = False, reporter: CheckReporter | None = None, label_prefix: str = "") -> list[_Row]:
        """Check everything and, with *fix*, mend what can be mended.

        Returns:
            Rows of severity (``ok``, ``info``, ``warn``, ``error``), label and detail; with a *reporter* they go
            there as they come, and the list is empty.

        Raises:
            SystemExit: unknown project, or TCP mode without fixed ports.
        """
        early = self._early()
        if early is not None:
            return _give([early], reporter)
        visit = _Visit.of(self.project_id, self.task_id)
        if reporter is None:
            return [row for check in visit.checks() for row in visit.rows(check, fix, label_prefix)]
        _stream(visit, fix, reporter, label_prefix)
        return []

    def _early(self) -> _Row | None:
        """What makes checks pointless."""
        from terok.lib.core import projects
        from terok.lib.core.task_state import container_name
        from terok.lib.orchestration import tasks
        from terok.lib.orchestration.task_runners import container

        project = projects.load_project(self.project_id)
        label = f"Task {self.project_id}/{self.task_id}"
        try:
            meta = tasks.read_task_meta(tasks.tasks_meta_dir(project.id), self.task_id)
        except (OSError, ValueError) as error:
            return "warn", label, str(error)
        if meta is None:
            return "warn", label, "its metadata is missing"
        if not meta.get("mode"):
            return "warn", label, "it has never run"
        name = container_name(project.id, meta["mode"], self.task_id)
        try:
            state = container.state_or_refuse(container.container_of(project, name))
        except SystemExit as error:
            return "warn", label, str(error)
        return None if state == "running" else ("info", label, f"its container is not running ({state or 'not found'})")


def run_container_doctor(
    project_id: str, task_id: str, *, fix: bool = False, reporter: CheckReporter | None = None, label_prefix: str = ""
) -> list[_Row]:
    """See :meth:`ContainerDoctor.run`."""
    return ContainerDoctor(project_id, task_id).run(fix=fix, reporter=reporter, label_prefix=label_prefix)


def _give(rows: list[_Row], reporter: CheckReporter | None) -> list[_Row]:
    if reporter is None:
        return rows
    for row in rows:
        reporter.emit(*row)
    return []


@dataclass(frozen=True)
class _Visit:
    """One running container and what is to be known about it."""

    project: ProjectConfig
    task_dir: Path
    name: str
    runtime: Any
    cfg: SandboxConfig

    @classmethod
    def of(cls, project_id: str, task_id: str) -> _Visit:
        from terok.lib.core import config, projects, runtime
        from terok.lib.core.task_state import container_name
        from terok.lib.orchestration import tasks

        project = projects.load_project(project_id)
        meta, _ = tasks.load_task_meta(project.id, task_id)
        name = container_name(project.id, meta["mode"], task_id)
        cfg = config.make_sandbox_config()
        return cls(project, Path(project.tasks_root) / task_id, name, runtime.resolve_runtime(project), cfg)

    def checks(self) -> list[DoctorCheck]:
        """Every check of every layer, in the order of the report."""
        from terok_executor.doctor import container_checks
        from terok_sandbox.doctor import sandbox_doctor_checks

        from terok.lib.integrations import executor

        broker, signer = self._ports()
        desired, trouble = _desired(self.task_dir)
        found = sandbox_doctor_checks(token_broker_port=broker, ssh_signer_port=signer, desired_shield_state=desired)
        if trouble is not None:
            told = CheckVerdict("warn", f"the wanted state cannot be read: {trouble}")
            found = [replace(c, evaluate=lambda *_: told) if c.category == "shield" else c for c in found]
        found += container_checks(executor.AgentRoster.shared(), token_broker_port=broker)
        found += [*_git_identity(self.project), _git_origin(self.project)]
        found += _port_drift(broker, signer)
        return [*found, *self._services()]

    def _ports(self) -> tuple[int | None, int | None]:
        if self.cfg.services_mode != "tcp":
            return None, None
        ports = (self.cfg.token_broker_port, self.cfg.ssh_signer_port, self.cfg.gate_port)
        if None in ports:
            raise SystemExit(
                "cannot check containers in TCP mode: a port is not set\n"
                "hint: set `gate_server.port`, `vault.port` and `vault.ssh_signer_port` in config.yml"
            )
        return ports[0], ports[1]

    def _services(self) -> Iterator[DoctorCheck]:
        for label, file, key in (
            ("Vault reachable", "vault.sock", "tcp_port"), ("Gate reachable", "gate-server.sock", "gate_port"),
        ):  # fmt: skip
            yield DoctorCheck("services", label, [], self._reach(file, key), host_side=True)

    def _reach(self, file: str, key: str) -> Any:
        def judge(_status: int, _out: str, _err: str) -> CheckVerdict:
            if self.cfg.services_mode != "tcp":
                path = self.cfg.runtime_dir / "run" / self.name / file
                there = path.is_socket() and not path.is_symlink()
                return CheckVerdict("ok", str(path)) if there else CheckVerdict("warn", f"`{path}` is missing")
            return _reachable(self.cfg.state_dir / "sidecar" / f"{self.name}.json", key)

        return judge

    def rows(self, check: DoctorCheck, fix: bool, label_prefix: str) -> Iterator[_Row]:
        """The check's row and, where it was mended, the row of that."""
        verdict = self._verdict(check)
        yield verdict.severity, f"{label_prefix}{check.label}", _shown(verdict.detail)
        if fix and verdict.fixable and check.fix_cmd:
            yield self._mend(check, label_prefix)

    def _verdict(self, check: DoctorCheck) -> CheckVerdict:
        try:
            if check.host_side:
                return check.evaluate(0, self._live_shield() if check.category == "shield" else "", "")
            done = self._exec(check.probe_cmd)
            return check.evaluate(done.exit_code, done.stdout, done.stderr)
        except (OSError, RuntimeError, subprocess.SubprocessError, TimeoutError) as error:
            return CheckVerdict("warn", f"cannot be checked: {error}")
        except Exception as error:
            return CheckVerdict("warn", f"the answer cannot be read: {type(error).__name__}: {error}")

    def _live_shield(self) -> str:
        from terok.lib.integrations import sandbox

        return str(sandbox.ShieldManager(self.task_dir, self.cfg).state(self.name).value)

    def _exec(self, command: list[str]) -> Any:
        return self.runtime.exec(self.runtime.container(self.name), command, timeout=_PROBE_LIMIT_S)

    def _mend(self, check: DoctorCheck, label_prefix: str) -> _Row:
        label = f"{label_prefix}  fix: {check.label}"
        try:
            done = self._exec(list(check.fix_cmd or ()))
        except (OSError, RuntimeError, subprocess.SubprocessError, TimeoutError) as error:
            return "warn", label, f"failed: {error}"
        said = _shown(done.stderr.strip())
        return ("ok", label, check.fix_description) if done.exit_code == 0 else ("warn", label, f"failed: {said}")


def _shown(text: str) -> str:
    """Text of a container, without what could steer a terminal."""
    from terok_util import sanitize_tty

    return str(sanitize_tty(text))


def _desired(task_dir: Path) -> tuple[str | None, Exception | None]:
    """The firewall's state that the user wants, if any is noted, and why the note cannot be read."""
    try:
        return (task_dir / "shield_desired_state").read_text(encoding="utf-8").strip() or None, None
    except FileNotFoundError:
        return None, None
    except (OSError, ValueError) as error:
        return None, error


def _git_identity(project: ProjectConfig) -> Iterator[DoctorCheck]:
    for key, wanted in (("user.name", project.human_name), ("user.email", project.human_email)):
        probe = ["git", "-C", "/workspace", "config", key]
        mend = [*probe, wanted] if wanted else None
        yield DoctorCheck("git", f"Git {key}", probe, _identity_judge(wanted), mend, f"set {key}")


def _identity_judge(wanted: str | None) -> Any:
    def judge(status: int, out: str, _err: str) -> CheckVerdict:
        found = out.strip()
        if status != 0 or not found:
            return CheckVerdict("warn", "not set")
        if wanted and found != wanted:
            return CheckVerdict("warn", f"`{found}`, the project says `{wanted}`", fixable=True)
        return CheckVerdict("ok", found)

    return judge


def _git_origin(project: ProjectConfig) -> DoctorCheck:
    def judge(status: int, out: str, _err: str) -> CheckVerdict:
        url = out.strip()
        if status != 0 or not url:
            return CheckVerdict("warn", "the workspace has no origin")
        shown = _without_credentials(url)
        if project.security_class != "gatekeeping":
            return CheckVerdict("ok", shown)
        parts = urlsplit(url)
        if (parts.hostname, parts.port) == (_GATE_HOST, _GATE_PORT):
            return CheckVerdict("ok", shown)
        return CheckVerdict("error", f"`{shown}` is not the gate: pushes would go past it")

    return DoctorCheck("git", "Git origin", ["git", "-C", "/workspace", "remote", "get-url", "origin"], judge)


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rsplit("@", 1)[1]))


def _port_drift(broker: int | None, signer: int | None) -> Iterator[DoctorCheck]:
    for variable, port in (("TEROK_TOKEN_BROKER_PORT", broker), ("TEROK_SSH_SIGNER_PORT", signer)):
        if port is not None:
            yield DoctorCheck("network", f"Port drift ({variable})", ["printenv", variable], _port_judge(port))


def _port_judge(port: int) -> Any:
    def judge(_status: int, out: str, _err: str) -> CheckVerdict:
        found = out.strip()
        if not found:
            return CheckVerdict("ok", "not set")
        if not found.isdecimal():
            return CheckVerdict("warn", f"`{found}` is no port")
        if int(found) != port:
            return CheckVerdict("error", f"{found} in the container, {port} on the host")
        return CheckVerdict("ok", found)

    return judge


def _reachable(sidecar: Path, key: str) -> CheckVerdict:
    try:
        port = json.loads(sidecar.read_text(encoding="utf-8")).get(key)
        if not isinstance(port, int):
            return CheckVerdict("warn", f"`{sidecar}` names no port")
        with socket.create_connection(("127.0.0.1", port), timeout=_REACH_LIMIT_S):
            return CheckVerdict("ok", f"127.0.0.1:{port}")
    except (OSError, ValueError, AttributeError) as error:
        return CheckVerdict("warn", str(error))


def _group_of(check: DoctorCheck) -> str | None:
    for category, start, group in _GROUPS:
        if check.category == category and check.label.startswith(start):
            return group
    return None


def _stream(visit: _Visit, fix: bool, reporter: CheckReporter, label_prefix: str) -> None:
    """Report each check as it is done; members of a group together, where the first of them stands."""
    checks, done = visit.checks(), set()
    for check in checks:
        group = _group_of(check)
        if group is None:
            _one(visit, check, fix, reporter, label_prefix)
        elif group not in done:
            done.add(group)
            _together(visit, [c for c in checks if _group_of(c) == group], fix, reporter, f"{label_prefix}{group}")


def _one(visit: _Visit, check: DoctorCheck, fix: bool, reporter: CheckReporter, label_prefix: str) -> None:
    reporter.begin(f"{label_prefix}{check.label}")
    (severity, _, detail), *mended = visit.rows(check, fix, label_prefix)
    reporter.end(severity, detail)
    _give(mended, reporter)


def _together(visit: _Visit, members: list[DoctorCheck], fix: bool, reporter: CheckReporter, heading: str) -> None:
    mended: list[_Row] = []
    with reporter.group(heading) as group:
        for check in members:
            (severity, label, detail), *more = visit.rows(check, fix, "")
            group.track(severity, label, detail)
            mended += more
    _give(mended, reporter)
