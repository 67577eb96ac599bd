"""Verbs for containers that somebody runs with podman directly, the health checks, and the supervisor's entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig

_SEVERITIES = ("ok", "warn", "error")


def _config(cfg: SandboxConfig | None) -> SandboxConfig:
    from terok_sandbox.config import SandboxConfig

    return cfg or SandboxConfig()


def _profiles(text: str | None) -> tuple[str, ...] | None:
    return tuple(item.strip() for item in (text or "").split(",") if item.strip()) or None


def handle_prepare(
    *, container: str, no_shield: bool = False, no_gate: bool = False, no_broker: bool = False,
    scope: str | None = None, profiles: str | None = None, json: bool = False, cfg: SandboxConfig | None = None,
) -> None:  # fmt: skip
    """Print the podman options that wire a container; what they need stays on the host until ``cleanup``.

    Raises:
        SystemExit: the name, a wish or the installation does not do; nothing is left.
    """
    from terok_sandbox import launch

    args, _plan = launch.compose(
        container, scope=scope, profiles=_profiles(profiles), cfg=_config(cfg),
        broker=not no_broker, gate=not no_gate, shield=not no_shield,
    )  # fmt: skip
    print(launch.format_args(args, output_json=json))


def handle_run(
    *, container: str, no_shield: bool = False, no_gate: bool = False, no_broker: bool = False,
    scope: str | None = None, profiles: str | None = None, podman_args: list[str] | None = None,
    cfg: SandboxConfig | None = None,
) -> None:  # fmt: skip
    """Become ``podman run`` for a wired container; everything that can be refused is refused before anything is made.

    Raises:
        SystemExit: the name, an option, a wish or the installation does not do; nothing is left.
    """
    from terok_sandbox import launch

    cfg, words = _config(cfg), list(podman_args or ())
    launch.check_podman_args(words)
    args, _plan = launch.compose(
        container, scope=scope, profiles=_profiles(profiles), cfg=cfg,
        broker=not no_broker, gate=not no_gate, shield=not no_shield,
    )  # fmt: skip
    try:
        launch.exec_podman(args, words)
    except BaseException:
        launch.cleanup(container, cfg=cfg)
        raise


def handle_cleanup(*, container: str, cfg: SandboxConfig | None = None) -> None:
    """Remove what wiring a container left on the host; the container itself is not touched.

    Raises:
        SystemExit: the name is unsafe.
    """
    from terok_sandbox import launch

    try:
        found = launch.cleanup(container, cfg=_config(cfg))
    except ValueError as error:
        raise SystemExit(str(error)) from error
    print(f"cleaned up after `{container}`" if found else f"nothing is known about `{container}`")


def handle_doctor() -> int:
    """Run the checks of this host; 0, 1 or 2 after the worst verdict: ok, warn, error."""
    from terok_sandbox import doctor
    from terok_sandbox._stage import green, red, yellow

    shown = {"ok": green("ok"), "warn": yellow("WARN"), "error": red("ERROR")}
    worst = 0
    of_host = [
        doctor.make_recovery_acknowledged_check(),
        doctor.supervisor_hooks_check(),
        doctor.site_settings_check(),
        doctor.podman_advisories_check(),
    ]
    for check in [*doctor.sandbox_doctor_checks(), *of_host]:
        verdict = doctor.run_check(check)
        print(f"  {check.label} .... {shown[verdict.severity]} ({verdict.detail})")
        worst = max(worst, _SEVERITIES.index(verdict.severity))
    return worst


def handle_supervisor(*, container_id: str, sidecar_path: str) -> int:
    """Supervise one container until it ends; the supervisor's own exit status."""
    import subprocess

    from terok_sandbox.supervisor.install import supervisor_executable

    program = str(supervisor_executable())
    return subprocess.run([program, "supervisor", container_id, sidecar_path]).returncode
