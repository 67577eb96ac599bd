"""The executor's verbs: their arguments as data, their handlers as thin functions.

Handlers take keyword arguments only and import what they need when they run, so that asking for help stays quick.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_util.cli_types import CommandDef
from terok_util.shell import command_line

from terok_executor import arguments
from terok_executor._outline import VERBS
from terok_executor.arguments import DEFAULT_BASE as _DEFAULT_BASE

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig
    from terok_util.cli_types import ArgDef

#: Exit statuses of the gates in front of a run.
EXIT_SETUP_NEEDED = 3
EXIT_DOWNGRADE = 4
#: Seconds an agent gets to end by itself before it is killed.
_STOP_GRACE_S = 2


# -- run ---------------------------------------------------------------------------------------------------------------


def _handle_run(
    *, agent: str, repo: str = ".", prompt: str | None = None, model: str | None = None,
    max_turns: int | None = None, timeout: int = 1800, interactive: bool = False, web: bool = False,
    port: int | None = None, gate: bool = True, no_gate: bool = False, branch: str | None = None,
    name: str | None = None, restricted: bool = False, gpu: bool = False, memory: str | None = None,
    cpus: str | None = None, git_identity_from_host: bool = False, shared_dir: str | None = None,
    shared_mount: str = "/shared", base: str = _DEFAULT_BASE, family: str | None = None,
    timezone: str | None = None, yes: bool = False, no_preflight: bool = False, cfg: SandboxConfig | None = None,
    allow_dangerous_mount: list[str] | tuple[str, ...] = (), branch_only: bool = False,
    clone: bool = False, allow_root: bool = False,
) -> None:  # fmt: skip
    """Run one agent: headless with a prompt, interactive, or as a web front end."""
    if not (web or interactive or prompt):
        raise SystemExit(
            "cannot run an agent: no mode was given\nhint: give a prompt with -p, or pass --interactive or --web"
        )
    cfg = _caller_or_exit(cfg, allow_root)
    base = _base_image(base)
    _setup_verdict_or_exit(no_preflight)
    _preflight_or_exit(agent, base, family, yes, no_preflight, cfg)
    from terok_executor import AgentRunner

    runner = AgentRunner(base_image=base, family=family, cfg=cfg)
    shared: dict[str, Any] = {"shared_dir": Path(shared_dir) if shared_dir else None}
    if shared_dir:
        shared["shared_mount"] = shared_mount
    common: dict[str, Any] = {
        "branch": branch, "gate": gate and not no_gate, "name": name, "unrestricted": not restricted, "gpu": gpu,
        "memory": memory, "cpus": cpus, "timezone": timezone, **shared, **_allowed(allow_dangerous_mount),
        "branch_only": branch_only, "clone": clone,
        **(_host_identity() if git_identity_from_host else {}),
    }  # fmt: skip
    if web:
        container = runner.run_web(repo, port=port, **common)
    elif interactive:
        container = runner.run_interactive(agent, repo, **common)
    else:
        container = runner.run_headless(
            agent, repo, prompt=prompt or "", model=model, max_turns=max_turns, timeout=timeout, follow=True, **common
        )
    _finish(container, runner.last_exit_code)


def _handle_run_tool(
    *, tool: str, repo: str = ".", branch: str | None = None, gate: bool = True, no_gate: bool = False,
    name: str | None = None, timeout: int = 600, tool_args: list[str] | tuple[str, ...] = (),
    base: str = _DEFAULT_BASE, family: str | None = None, timezone: str | None = None, yes: bool = False,
    no_preflight: bool = False, cfg: SandboxConfig | None = None,
    allow_dangerous_mount: list[str] | tuple[str, ...] = (), branch_only: bool = False,
    clone: bool = False, allow_root: bool = False,
) -> None:  # fmt: skip
    """Run one tool from its own image."""
    cfg = _caller_or_exit(cfg, allow_root)
    base = _base_image(base)
    _setup_verdict_or_exit(no_preflight)
    _preflight_or_exit(tool, base, family, yes, no_preflight, cfg, image=False)
    from terok_executor import AgentRunner

    runner = AgentRunner(base_image=base, family=family, cfg=cfg)
    container = runner.run_tool(
        tool, repo, tool_args=tuple(tool_args or ()), branch=branch, gate=gate and not no_gate, name=name,
        timeout=timeout, timezone=timezone, branch_only=branch_only, clone=clone,
        **_allowed(allow_dangerous_mount),
    )  # fmt: skip
    _finish(container, runner.last_exit_code)


def _allowed(paths: list[str] | tuple[str, ...] | None) -> dict[str, Any]:
    """The argument of a run for the paths that may be mounted although they are dangerous; none when there are none."""
    return {"allow_dangerous_mounts": tuple(Path(path).expanduser() for path in paths)} if paths else {}


def _caller_or_exit(cfg: SandboxConfig | None, allow_root: bool) -> SandboxConfig | None:
    """The configuration for this caller; root of the host ends here unless it asked to launch."""
    from dataclasses import replace

    from terok_sandbox.config import SandboxConfig
    from terok_sandbox.launch import check_caller

    if allow_root:
        cfg = replace(cfg or SandboxConfig(), allow_root=True)
    check_caller(cfg or SandboxConfig())
    return cfg


def _finish(container: str, exit_code: int | None) -> None:
    """Name the container on the last line; end with the agent's own exit status."""
    print(f"Container: {container}", flush=True)
    if exit_code:
        raise SystemExit(exit_code)


def _base_image(base: str) -> str:
    """The given base, else the configured one, else the default."""
    if base != _DEFAULT_BASE:
        return base
    from terok_executor.config import image_base_image

    return image_base_image() or base


def _host_identity() -> dict[str, str]:
    """The human's name and address from the global git configuration."""
    import subprocess

    def ask(key: str) -> str:
        try:
            done = subprocess.run(["git", "config", "--global", key], capture_output=True, text=True, timeout=5)
        except (OSError, subprocess.SubprocessError):
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    name, email = ask("user.name"), ask("user.email")
    if not name:
        print("warning: git's global user.name is not set; commits carry no human identity", file=sys.stderr)
        return {}
    print(f"commits name {name} as the human", file=sys.stderr)
    identity = {"human_name": name, "authorship": "agent-human"}
    return {**identity, "human_email": email} if email else identity


def _setup_verdict_or_exit(no_preflight: bool) -> None:
    """Stop when set-up never ran, is outdated, or would be downgraded; with *no_preflight* nothing is even read."""
    if no_preflight:
        return
    from terok_sandbox.setup_stamp import SetupVerdict, needs_setup, stamp_path

    verdict = needs_setup()
    if verdict is SetupVerdict.STALE_AFTER_DOWNGRADE:
        stamp = stamp_path()
        _complain(
            f"cannot run: downgrade detected ({_name_downgraded_packages() or 'one or more packages'})",
            f"install the newer version again, or remove `{stamp}` with `{command_line('rm', stamp)}` to go on",
        )
        raise SystemExit(EXIT_DOWNGRADE)
    reasons = {
        SetupVerdict.FIRST_RUN: "set-up has not been run yet",
        SetupVerdict.STALE_AFTER_UPDATE: "the software was updated since the last set-up",
        SetupVerdict.STAMP_CORRUPT: f"the set-up stamp `{stamp_path()}` cannot be read",
    }
    if verdict not in reasons:
        return
    _complain(f"cannot run: {reasons[verdict]}", "run `terok-executor setup`, or pass --no-preflight to go on without")
    raise SystemExit(EXIT_SETUP_NEEDED)


def _name_downgraded_packages() -> str:
    """The packages that are older than at the last set-up, as ``name old → new`` or ``name (uninstalled)``."""
    from terok_sandbox.setup_stamp import installed_versions, read_stamp, stamp_path

    try:
        stamped = read_stamp(stamp_path())
    except (OSError, ValueError):
        return ""
    now = installed_versions()
    changed = []
    for package, old in stamped.items():
        new = now.get(package)
        if new is None:
            changed.append(f"{package} (uninstalled)")
        elif _is_older(new, old):
            changed.append(f"{package} {old} → {new}")
    return ", ".join(changed)


def _is_older(new: str, old: str) -> bool:
    from terok_native import _lib

    return _lib.sandbox_compare_versions(new, old) < 0


def _preflight_or_exit(
    provider: str, base: str, family: str | None, yes: bool, no_preflight: bool, cfg: SandboxConfig | None = None,
    *, image: bool = True,
) -> None:  # fmt: skip
    """Check what a run needs; repair it with the user's consent, or stop and say what is missing."""
    if no_preflight:
        return
    interactive = sys.stdin is not None and sys.stdin.isatty()
    from terok_executor.preflight import Preflight

    flight = Preflight(
        provider=provider, base_image=base, family=family, interactive=interactive, assume_yes=yes, cfg=cfg, image=image
    )
    if not flight.run():
        _complain(
            "cannot run: a prerequisite is missing",
            "run `terok-executor setup`, pass --yes to repair it now, or --no-preflight to go on without",
        )
        raise SystemExit(EXIT_SETUP_NEEDED)


def _complain(text: str, hint: str) -> None:
    print(f"{text}\nhint: {hint}", file=sys.stderr)


# -- credentials and agents --------------------------------------------------------------------------------------------


def _handle_auth(*, agent: str, api_key: str | None = None, base_image: str | None = None) -> None:
    """Store a credential for one agent."""
    from terok_executor.credentials.auth import Authenticator, require_known, store_api_key
    from terok_executor.credentials.vault_config import write_vault_config

    require_known(agent)
    if api_key is None:
        from terok_executor.paths import mounts_dir

        Authenticator(agent).run(None, mounts_dir=mounts_dir(), image=lambda: _auth_image(base_image))
    else:
        key = sys.stdin.readline() if api_key == "-" else api_key
        if not key.strip():
            raise SystemExit("cannot store the API key: it is empty\nhint: pass it on standard input with --api-key -")
        store_api_key(agent, key.strip())
        print(f"stored the API key of {agent}")
    write_vault_config(agent)


def _auth_image(base_image: str | None) -> str:
    from terok_executor.container.build import ImageBuilder

    return ImageBuilder(base_image or _base_image(_DEFAULT_BASE)).ensure_default_l1()


def _handle_agents_list(*, show_all: bool = False) -> None:
    """Print the known agents, with *show_all* also the tools."""
    from terok_executor.roster import AgentRoster

    rows = [("NAME", "LABEL", "TYPE"), *AgentRoster.shared().listing(show_all=show_all)]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for name, label, kind in rows:
        print(f"{name:<{widths[0]}}  {label:<{widths[1]}}  {kind}")


def _handle_agents_set(*, selection: str | None = None) -> None:
    """Write the default selection of agents to the configuration."""
    from terok_executor.config import set_image_agents
    from terok_executor.roster import AgentRoster

    roster = AgentRoster.shared()
    chosen = roster.prompt_selection() if selection is None else selection
    roster.validate_selection(chosen)
    print(f"image.agents = {chosen} ({set_image_agents(chosen)})")


# -- images and set-up -------------------------------------------------------------------------------------------------


def _handle_build(
    *, base: str = _DEFAULT_BASE, family: str | None = None, agents: str = "all", rebuild: bool = False,
    full_rebuild: bool = False, sidecar: bool = False, from_packages: bool = False,
) -> None:  # fmt: skip
    """Build the base and agent images, with *sidecar* also the tool image.

    With *from_packages* the base image is made here from Debian's packages, so no image registry is needed.
    """
    from terok_executor.config import image_agents
    from terok_executor.container.build import BuildError, ImageBuilder

    base = _base_from_packages(base) if from_packages else _base_image(base)
    builder = ImageBuilder(base, family)
    selection = image_agents() or agents if agents == "all" else agents
    try:
        images = builder.build_base(
            agents=_parse_selection(selection), rebuild=rebuild, full_rebuild=full_rebuild,
            tag_as_default=selection == (image_agents() or "all"),
        )  # fmt: skip
        print(f"L0: {images.l0}\nL1: {images.l1}")
        if sidecar:
            print(f"sidecar: {builder.build_sidecar(rebuild=rebuild, full_rebuild=full_rebuild)}")
    except (BuildError, ValueError) as error:
        raise SystemExit(str(error)) from error


def _base_from_packages(base: str) -> str:
    """Make the base image that needs no registry; says how the other commands come to use it."""
    from terok_executor.config import image_base_image
    from terok_executor.container.build import BOOTSTRAP_IMAGE, BuildError, make_base_image

    if base not in (_DEFAULT_BASE, BOOTSTRAP_IMAGE):
        raise SystemExit(f"cannot use --from-packages with --base {base}: it makes `{BOOTSTRAP_IMAGE}`; leave one out")
    try:
        made = make_base_image()
    except BuildError as error:
        raise SystemExit(str(error)) from error
    if image_base_image() != made:
        print(f"note: to run on it, pass --base {made} or set `image: {{base_image: {made}}}` in config.yml")
    return made


def _parse_selection(text: str) -> Any:
    from terok_executor.roster import AgentRoster

    return AgentRoster.parse_selection(text)


def _handle_setup(
    *, check: bool = False, no_sandbox: bool = False, no_images: bool = False, base: str = _DEFAULT_BASE,
    family: str | None = None, passphrase_tier: str | None = None, cfg: SandboxConfig | None = None,
) -> None:  # fmt: skip
    """Install the hooks, provision the vault, build the images; with *check* only look."""
    base = _base_image(base)
    if check:
        if not _print_setup_status(base, family, cfg):
            raise SystemExit(1)
        return
    if not no_sandbox:
        from terok_executor.sandbox import ensure_sandbox_ready

        extra: dict[str, Any] = {"passphrase_tier": passphrase_tier} if passphrase_tier else {}
        ensure_sandbox_ready(cfg=cfg, **extra)
    if not no_images:
        # Last, because the first time takes minutes.
        _build_images_with_banner(base, family)
    print('next: `terok-executor auth claude --api-key -`, then `terok-executor run claude . -p "…"`')


def _print_setup_status(base: str, family: str | None, cfg: SandboxConfig | None = None) -> bool:
    """Print what is in place; true when nothing is missing."""
    from terok_executor.preflight import Preflight

    flight = Preflight(provider="", base_image=base, family=family, interactive=False, cfg=cfg)
    results = [flight.check_podman(), flight.check_sandbox_services(), flight.check_images()]
    for result in results:
        flight.report(result)
    return all(result.ok for result in results)


def _build_images_with_banner(base: str, family: str | None) -> None:
    from terok_executor.config import image_agents
    from terok_executor.container.build import BuildError, ImageBuilder

    print(f"building the images on {base}; the first time takes minutes")
    try:
        tag = ImageBuilder(base, family).ensure_default_l1(_parse_selection(image_agents() or "all"))
    except (BuildError, ValueError) as error:
        raise SystemExit(str(error)) from error
    print(f"image: {tag}")


def _handle_uninstall(
    *, no_sandbox: bool = False, keep_images: bool = False, base: str = _DEFAULT_BASE,
    cfg: SandboxConfig | None = None,
) -> None:  # fmt: skip
    """Remove the images, then the hooks; credentials, configuration and state stay."""
    if not keep_images:
        _remove_images(_base_image(base))
    if not no_sandbox:
        from terok_sandbox.commands import _handle_sandbox_uninstall

        _handle_sandbox_uninstall(cfg=cfg)


def _remove_images(base: str) -> None:
    import subprocess

    from terok_executor.container.build import ImageBuilder

    builder = ImageBuilder(base)
    command = ["podman", "image", "rm", "--force", builder.l1_tag(), builder.l0_tag]
    try:
        subprocess.run(command, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"warning: the images could not be removed: {error}", file=sys.stderr)


# -- containers --------------------------------------------------------------------------------------------------------


def _handle_list() -> None:
    """Print our containers and their states, sorted by name."""
    from terok_executor.container import listing

    listing.show()


def _handle_stop(*, name: str) -> None:
    """Remove one of our containers and what belongs to it."""
    from terok_sandbox.launch import cleanup

    from terok_executor.container import stopping, workspaces
    from terok_executor.integrations import sandbox as catalogue

    cfg = catalogue.SandboxConfig()
    ours = stopping.is_ours(name)
    if ours is None:
        workspaces.end(cfg, name)
        cleared = " (what it had left behind is cleared)" if cleanup(name, cfg=cfg) else ""
        print(f"container `{name}` not found{cleared}")
        return
    if not ours:
        raise SystemExit(
            f"cannot stop container `{name}`: it was not started by terok-executor\n"
            f"hint: if you mean it, use `{command_line('podman', 'rm', '-f', name)}`"
        )
    runtime = catalogue.PodmanRuntime()
    container = runtime.container(name)
    # Removal alone would give the agent podman's full grace of ten seconds.
    with contextlib.suppress(RuntimeError):
        container.stop(timeout=_STOP_GRACE_S)
    (result,) = runtime.force_remove([container])
    if not result.removed:
        raise SystemExit(f"cannot stop container `{name}`: {result.error}")
    workspaces.end(cfg, name)
    cleanup(name, cfg=cfg)
    print(f"stopped and removed {name}")


def _handle_logs(*, name: str, follow: bool = False, tail: int | None = None, as_it_is: bool = False) -> None:
    """Print what a container wrote; Claude's event stream as readable lines unless *as_it_is*."""
    from terok_executor.container.transcript import show

    raise SystemExit(show(name, follow=follow, tail=tail, raw=as_it_is))


def _handle_show_config(*, cfg: SandboxConfig | None = None) -> None:
    """Print the effective sandbox configuration as YAML, secrets hidden."""
    from terok_native import _lib

    from terok_executor.integrations import sandbox as catalogue

    print(_lib.base_yaml_dump(_shown_config(cfg or catalogue.SandboxConfig())), end="")


def _shown_config(cfg: SandboxConfig) -> dict[str, Any]:
    import dataclasses

    hidden = {"credentials_passphrase", "credentials_passphrase_command"}
    shown: dict[str, Any] = {}
    for field in dataclasses.fields(cfg):
        value = getattr(cfg, field.name)
        if field.name in hidden and value:
            value = "<redacted>"
        if isinstance(value, (tuple, Path)):
            value = list(value) if isinstance(value, tuple) else str(value)
        shown[field.name] = value
    return shown


def _handle_acp(*, container_name: str, socket_path: str) -> None:
    """Serve the agents of a container over the Agent Client Protocol."""
    raise SystemExit(
        f"cannot serve `{container_name}` on `{socket_path}`: ACP is not part of this version\n"
        "hint: log in with `podman exec -it` instead"
    )


# -- the tree ----------------------------------------------------------------------------------------------------------


def _verb(name: str, handler: Any, args: tuple[ArgDef, ...] = ()) -> CommandDef:
    return CommandDef(name=name, help=VERBS[name], handler=handler, args=args)


RUN_COMMAND = _verb("run", _handle_run, arguments.RUN)
RUN_TOOL_COMMAND = _verb("run-tool", _handle_run_tool, arguments.RUN_TOOL)
AUTH_COMMAND = _verb("auth", _handle_auth, arguments.AUTH)
AGENTS_COMMAND = CommandDef(
    name="agents",
    help=VERBS["agents"],
    children=(
        CommandDef(
            name="list", help="List the agents we know", handler=_handle_agents_list, args=arguments.AGENTS_LIST
        ),
        CommandDef(
            name="set", help="Choose which agents images hold", handler=_handle_agents_set, args=arguments.AGENTS_SET
        ),
    ),
)
BUILD_COMMAND = _verb("build", _handle_build, arguments.BUILD)
SETUP_COMMAND = _verb("setup", _handle_setup, arguments.SETUP)
UNINSTALL_COMMAND = _verb("uninstall", _handle_uninstall, arguments.UNINSTALL)
LIST_COMMAND = _verb("list", _handle_list)
STOP_COMMAND = _verb("stop", _handle_stop, arguments.STOP)
SHOW_CONFIG_COMMAND = _verb("show-config", _handle_show_config)
ACP_COMMAND = _verb("acp", _handle_acp, arguments.ACP)
LOGS_COMMAND = _verb("logs", _handle_logs, arguments.LOGS)

#: The executor's own verbs, in the order callers know.
COMMANDS: tuple[CommandDef, ...] = (
    RUN_COMMAND, RUN_TOOL_COMMAND, AUTH_COMMAND, AGENTS_COMMAND, BUILD_COMMAND, SETUP_COMMAND, UNINSTALL_COMMAND,
    LIST_COMMAND, STOP_COMMAND, SHOW_CONFIG_COMMAND, ACP_COMMAND,
)  # fmt: skip
