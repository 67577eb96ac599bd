"""Launches one agent or tool in a hardened, supervised container.

The steps are always the same: check every argument, make sure the images exist, prepare the agent's private
configuration, assemble environment and mounts, write the supervisor's sidecar, launch, follow. A launch that fails
leaves no container, token, directory or sidecar behind.

Collaborators (sandbox, runtime, roster, image builder, environment assembly) are looked up when they are used, because
callers replace them.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_native.kept import kept
from terok_util.shell import command_line

from terok_executor.container import follow as following
from terok_executor.container import gating, workspaces
from terok_executor.container import logs as _logs
from terok_executor.container import plan as planning
from terok_executor.container import tool as _tool
from terok_executor.container.cache import seed_workspace_from_clone_cache
from terok_executor.container.context import GateGrant, LaunchContext
from terok_executor.container.plan import RunPlan
from terok_executor.container.repository import repo_key, resolve_repo

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig
    from terok_sandbox.launch import PerContainerResources
    from terok_sandbox.runtime import ContainerRuntime
    from terok_sandbox.sandbox import LifecycleHooks, Sandbox, VolumeSpec

    from terok_executor.container.env import ContainerEnvResult
    from terok_executor.roster import AgentRoster

_READY_TIMEOUT_S = 120.0
_CLI_READY = "__CLI_READY__"
#: Following goes on this much longer than the agent's own limit, for start-up and clean-up.
_FOLLOW_MARGIN_S = 60

_build_logs_cmd = _logs.build_logs_cmd
_generate_task_id = planning.new_run_id
_resolve_repo = resolve_repo


@kept
class AgentRunner:
    """Runs agents in containers: headless with a prompt, interactive, as a web front end, or a single tool.

    Args:
        sandbox: Facade to launch with; made on first use when missing.
        runtime: Container runtime to watch with; the sandbox's own when missing.
        roster: Known agents; the shared roster when missing.
        base_image: Image that the agent images build on.
        family: Package family of *base_image* (``deb`` or ``rpm``); detected when missing.
        cfg: Sandbox configuration; ignored when *sandbox* is given.

    Raises:
        ValueError: *sandbox* and *runtime* are not the same backend instance.
    """

    def __init__(
        self, *, sandbox: Sandbox | None = None, runtime: ContainerRuntime | None = None,
        roster: AgentRoster | None = None, base_image: str = "fedora:44", family: str | None = None,
        cfg: SandboxConfig | None = None,
    ) -> None:  # fmt: skip
        if sandbox and runtime and sandbox.runtime is not runtime:
            raise ValueError(
                "cannot use this runtime: sandbox and runtime must be the same backend instance; pass one of the two"
            )
        self._sandbox, self._runtime, self._roster, self._cfg = sandbox, runtime, roster, cfg
        self._base_image, self._family = base_image, family
        #: Exit code of the last followed run, ``None`` before.
        self.last_exit_code: int | None = None

    @property
    def sandbox(self) -> Sandbox:
        """The launch facade."""
        if self._sandbox is None:
            from terok_executor.integrations import sandbox as catalogue

            self._sandbox = catalogue.Sandbox(config=self._cfg, runtime=self._runtime)
        return self._sandbox

    @property
    def runtime(self) -> ContainerRuntime:
        """The container runtime, always the one the sandbox uses."""
        self._runtime = self._runtime or self.sandbox.runtime
        return self._runtime

    @property
    def roster(self) -> AgentRoster:
        """The known agents."""
        if self._roster is None:
            from terok_executor.roster import AgentRoster

            self._roster = AgentRoster.shared()
        return self._roster

    def run_headless(
        self, provider: str, repo: str, *, prompt: str, branch: str | None = None, model: str | None = None,
        max_turns: int | None = None, timeout: int = 1800, gate: bool = True, name: str | None = None,
        follow: bool = False, unrestricted: bool = True, gpu: bool = False, memory: str | None = None,
        cpus: str | None = None, hooks: LifecycleHooks | None = None, human_name: str | None = None,
        human_email: str | None = None, authorship: str | None = None, shared_dir: Path | None = None,
        shared_mount: str = "/shared", timezone: str | None = None, project_id: str = "", task_id: str = "",
        dossier_path: Path | str | None = None, allow_dangerous_mounts: tuple[Path, ...] = (),
        branch_only: bool = False, clone: bool = False,
    ) -> str:  # fmt: skip
        """Let *provider* work on *repo* with *prompt*; return the container name.

        Args:
            provider: Agent name.
            repo: Directory on this host, or a git URL.
            gate: Let the container clone a URL from, and push it to, a mirror on this host; the upstream itself is
                never written to. ``False``: the container talks to the URL by itself. Directories need no gate.
            prompt: What the agent is asked to do; travels by file, never by argument.
            timeout: Seconds the agent may run.
            follow: Copy the output until the agent ends; its exit code is then in :attr:`last_exit_code`.
            project_id: Identity of the caller's project, for the supervisor; empty when standalone.
            task_id: Identity of the caller's task, likewise.
            allow_dangerous_mounts: Host paths that are mounted although they are refused otherwise (home directories,
                keys, our own state); recorded in label ``terok.dangerous-mounts`` of the container.
            branch_only: Commits on a directory come back as branch ``terok/<run>`` alone; the branch that is checked
                out is never fast-forwarded.
            clone: Treat a directory like a URL: the container clones its commits from a mirror and pushes there, and
                no file of the directory is mounted.

        Raises:
            SystemExit: an argument is wrong, or podman refused the launch.
            BuildError: an image could not be built, or the launch could not be prepared.
        """
        planning.check_positive("timeout", timeout)
        planning.check_positive("max_turns", max_turns)
        agent = self.roster.get_provider(provider)
        command, full_prompt = self._headless(agent, prompt, model, max_turns, timeout)
        plan = self._launch_agent(
            "headless", agent.name, repo, command, prompt=full_prompt, branch=branch, gate=gate, name=name,
            unrestricted=unrestricted, gpu=gpu, memory=memory, cpus=cpus, hooks=hooks, human_name=human_name,
            human_email=human_email, authorship=authorship, shared_dir=shared_dir, shared_mount=shared_mount,
            timezone=timezone, project_id=project_id, task_id=task_id, dossier_path=dossier_path,
            directory=planning.DirectoryRules(allow_dangerous_mounts, branch_only, clone),
        )  # fmt: skip
        self._after(plan, timeout, hooks, follow)
        return plan.container

    def run_interactive(
        self, provider: str, repo: str, *, branch: str | None = None, gate: bool = True, name: str | None = None,
        unrestricted: bool = True, gpu: bool = False, memory: str | None = None, cpus: str | None = None,
        hooks: LifecycleHooks | None = None, human_name: str | None = None, human_email: str | None = None,
        authorship: str | None = None, shared_dir: Path | None = None, shared_mount: str = "/shared",
        timezone: str | None = None, project_id: str = "", task_id: str = "",
        dossier_path: Path | str | None = None, allow_dangerous_mounts: tuple[Path, ...] = (),
        branch_only: bool = False, clone: bool = False,
    ) -> str:  # fmt: skip
        """Start a container for *provider* that waits for a login; return its name and print the login command.

        See :meth:`run_headless` for the arguments and errors.
        """
        agent = self.roster.get_provider(provider)
        plan = self._launch_agent(
            "interactive", agent.name, repo, planning.interactive_command(), branch=branch, gate=gate, name=name,
            unrestricted=unrestricted, gpu=gpu, memory=memory, cpus=cpus, hooks=hooks, human_name=human_name,
            human_email=human_email, authorship=authorship, shared_dir=shared_dir, shared_mount=shared_mount,
            timezone=timezone, project_id=project_id, task_id=task_id, dossier_path=dossier_path,
            directory=planning.DirectoryRules(allow_dangerous_mounts, branch_only, clone),
        )  # fmt: skip
        if self.sandbox.stream_logs(plan.container, timeout=_READY_TIMEOUT_S, ready_check=_is_ready):
            _fire(hooks, "post_ready")
            login = self.runtime.container(plan.container).login_command(command=("bash", "-l"))
            print(f"log in with: {command_line(*login)}")
        self._after(plan, 0, hooks, follow=False)
        return plan.container

    def run_web(
        self, repo: str, *, port: int | None = None, branch: str | None = None, gate: bool = True,
        name: str | None = None, public_url: str | None = None, unrestricted: bool = True, gpu: bool = False,
        memory: str | None = None, cpus: str | None = None, hooks: LifecycleHooks | None = None,
        human_name: str | None = None, human_email: str | None = None, authorship: str | None = None,
        shared_dir: Path | None = None, shared_mount: str = "/shared", timezone: str | None = None,
        project_id: str = "", task_id: str = "", dossier_path: Path | str | None = None,
        allow_dangerous_mounts: tuple[Path, ...] = (), branch_only: bool = False, clone: bool = False,
    ) -> str:  # fmt: skip
        """Serve the web front end for *repo* on a loopback port, behind a one-time token; return the container name.

        With ``port=None`` a free port is chosen. The address, token included, is printed when the gate answers. See
        :meth:`run_headless` for the other arguments and errors.
        """
        port = self._web_port(port)
        url = public_url or f"http://127.0.0.1:{port}"
        token = secrets.token_urlsafe(32)
        plan = self._launch_agent(
            "web", "claude", repo, planning.web_command(url), branch=branch, gate=gate, name=name,
            unrestricted=unrestricted, gpu=gpu, memory=memory, cpus=cpus, hooks=hooks, human_name=human_name,
            human_email=human_email, authorship=authorship, shared_dir=shared_dir, shared_mount=shared_mount,
            timezone=timezone, project_id=project_id, task_id=task_id, dossier_path=dossier_path, web_token=token,
            publish=("-p", f"127.0.0.1:{port}:{planning.WEB_PORT_IN_CONTAINER}"),
            directory=planning.DirectoryRules(allow_dangerous_mounts, branch_only, clone),
        )  # fmt: skip
        if self.sandbox.stream_logs(plan.container, timeout=_READY_TIMEOUT_S):
            _fire(hooks, "post_ready")
        print(f"{url}/?token={token}")
        self._after(plan, 0, hooks, follow=False)
        return plan.container

    def run_tool(
        self, tool: str, repo: str, *, tool_args: tuple[str, ...] = (), branch: str | None = None,
        gate: bool = True, name: str | None = None, follow: bool = True, timeout: int = 600,
        timezone: str | None = None, project_id: str = "", task_id: str = "",
        dossier_path: Path | str | None = None, allow_dangerous_mounts: tuple[Path, ...] = (),
        branch_only: bool = False, clone: bool = False,
    ) -> str:  # fmt: skip
        """Run one tool from its own image on *repo*; return the container name.

        The tool gets its real credential, because no agent runs beside it; the credential travels in a file that the
        container's first command removes, never in an argument or in podman's configuration of the container.

        Raises:
            SystemExit: an argument is wrong, or no credential is stored for a tool that needs one.
            BuildError: the image could not be built.
        """
        planning.check_positive("timeout", timeout)
        sidecar = self.roster.get_sidecar_spec(tool)
        directory = planning.DirectoryRules(allow_dangerous_mounts, branch_only, clone)
        plan = self._plan("tool", repo, name, gate, project_id, task_id, directory)
        self._check_host_paths(plan.local_repo, allowed=directory.allowed)
        credentials = _tool.credentials(self.sandbox.config, tool, sidecar.env_map)
        plan = self._behind_gate(plan)
        image = self._ensure_sidecar_image(sidecar.tool_name)
        with self._launching(plan) as (resources, task_dir):
            env, volumes = _tool.environment(
                plan, self._workspace(plan, task_dir), branch, planning.detect_timezone(timezone)
            )
            volumes = [*volumes, *workspaces.prepare(self.sandbox.config, plan, [], branch_only=branch_only)]
            secrets = _tool.hand_over(resources, credentials)
            command = planning.tool_command(sidecar.tool_name, tuple(tool_args), timeout, secrets)
            self.launch_prepared(
                env=env, volumes=volumes, image=image, command=command, name=plan.container,
                task_dir=task_dir, extra_args=plan.podman_args(), project_id=plan.project_id,
                task_id=plan.task_id, dossier_path=dossier_path, per_container=resources,
                context=LaunchContext(gate=plan.gate), allow_dangerous_mounts=allow_dangerous_mounts,
            )  # fmt: skip
        self._after(plan, timeout, None, follow)
        return plan.container

    def launch_prepared(
        self, *, env: dict[str, str], volumes: list[VolumeSpec], image: str, command: list[str], name: str,
        task_dir: Path, gpu: bool = False, memory: str | None = None, cpus: str | None = None,
        unrestricted: bool = True, sealed: bool = False, hooks: LifecycleHooks | None = None,
        extra_args: list[str] | None = None, hostname: str | None = None, annotations: dict[str, str] | None = None,
        runtime: str | None = None, project_id: str = "", task_id: str = "", dossier_path: Path | str | None = None,
        per_container: PerContainerResources | None = None, context: LaunchContext | None = None,
        allow_dangerous_mounts: tuple[Path, ...] = (),
    ) -> str:  # fmt: skip
        """Launch a container whose environment and mounts the caller has prepared; return its name.

        The caller's mappings are never changed. The supervisor's sidecar is written first; without it nothing starts.

        Args:
            context: What came with the environment from :func:`~terok_executor.assemble_container_env`. Without it the
                vault must open and name one owner for all phantom tokens in *env*.

        Raises:
            BuildError: the sidecar could not be written, the GPU could not be handed over, or a phantom token in *env*
                is unknown or another container's.
            ValueError: the container name is not acceptable.
            SystemExit: podman refused the launch, or no supervisor answers.
            FileNotFoundError: podman is not installed.
        """
        from terok_executor.container.launching import launch

        return launch(
            self.sandbox, self.roster, env=env, volumes=volumes, image=image, command=command, name=name,
            task_dir=task_dir, gpu=gpu, memory=memory, cpus=cpus, unrestricted=unrestricted, sealed=sealed, hooks=hooks,
            extra_args=extra_args, hostname=hostname, annotations=annotations, runtime=runtime,
            project_id=project_id, task_id=task_id, dossier_path=dossier_path, per_container=per_container,
            context=context, allow_dangerous_mounts=allow_dangerous_mounts,
        )  # fmt: skip

    def wait_for_exit(self, container_name: str, timeout: float | None = None) -> int:
        """Block until the container ends; see :func:`terok_executor.container.logs.wait_for_exit`.

        Commits of a run on a directory are brought back then.
        """
        code = _logs.wait_for_exit(container_name, timeout)
        workspaces.bring_back(self.sandbox.config, container_name)
        return code

    def logs(
        self, container_name: str, *, tail: int | None = None, timestamps: bool = False, since: str | None = None,
    ) -> str:  # fmt: skip
        """Return what the container wrote; see :func:`terok_executor.container.logs.read_logs`."""
        return _logs.read_logs(container_name, tail=tail, timestamps=timestamps, since=since)

    def capture_logs(self, container_name: str, dest: Path, *, timestamps: bool = True, timeout: float = 60.0) -> bool:
        """Archive both output streams; see :func:`terok_executor.container.logs.capture_logs`."""
        return _logs.capture_logs(container_name, dest, timestamps=timestamps, timeout=timeout)

    def stream_logs_process(
        self, container_name: str, *, follow: bool = False, tail: int | None = None, timestamps: bool = False,
        merge_stderr: bool = False,
    ) -> subprocess.Popen[bytes]:  # fmt: skip
        """Start ``podman logs``; see :func:`terok_executor.container.logs.stream_logs_process`."""
        return _logs.stream_logs_process(
            container_name, follow=follow, tail=tail, timestamps=timestamps, merge_stderr=merge_stderr
        )

    # -- steps -------------------------------------------------------------------------------------------------------

    def _headless(
        self, agent: Any, prompt: str, model: str | None, max_turns: int | None, timeout: int
    ) -> tuple[list[str], str]:
        """The command for a headless run and the prompt with what the agent has no option for."""
        from terok_executor.provider.providers import CLIOverrides

        settings = agent.apply_config({}, CLIOverrides(model=model, max_turns=max_turns, timeout=timeout))
        for warning in settings.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        command = agent.build_headless_command(
            timeout=settings.timeout, model=settings.model, max_turns=settings.max_turns
        )
        full = f"{prompt}\n\n{settings.prompt_extra}" if settings.prompt_extra else prompt
        return planning.shell_command(command), full

    def _web_port(self, wanted: int | None) -> int:
        """The wanted port, or a free one."""
        if wanted is not None:
            if not 1 <= wanted <= 65535:
                raise SystemExit(f"port must be between 1 and 65535, not {wanted}")
            return wanted
        with self.runtime.reserve_port() as reservation:
            return reservation.port

    def _plan(
        self, mode: planning.Mode, repo: str, name: str | None, gate: bool, project: str, task: str,
        directory: planning.DirectoryRules = planning.NO_RULES,
    ) -> RunPlan:  # fmt: skip
        run_id = _generate_task_id()
        container = name or f"{planning.NAME_PREFIX}{run_id}"
        _check_name(container)
        code_repo, local_repo = _resolve_repo(repo)
        if directory.clone and local_repo is not None:
            code_repo, local_repo = workspaces.clone_url(local_repo, gate=gate), None
        return RunPlan(mode, run_id, container, code_repo, local_repo, project, task, wants_gate=gate)

    def _check_host_paths(self, *paths: Path | None, allowed: tuple[Path, ...]) -> None:
        """Refuse host directories that containers must not see, before anything is made; the launch checks again."""
        from terok_sandbox import launch

        given = [Path(path).expanduser() for path in paths if path is not None]
        launch._native().sandbox_check_host_paths(launch._place(self.sandbox.config), given, list(allowed))
        repository = paths[0]
        if repository is not None:
            workspaces.check(repository)

    def _behind_gate(self, plan: RunPlan) -> RunPlan:
        """The plan with the gate's address in place of the repository's, when it wants the gate and has a URL."""
        url = plan.code_repo
        if url is None or not plan.wants_gate:
            return plan
        address, token = self._setup_gate(url)
        mirror = gating.Mirror.seen(gating.mirror_path(self.sandbox.config, url))
        grant = GateGrant(mirror.path.name.removesuffix(".git"), token)
        return replace(plan, code_repo=address, gate=grant, mirror=mirror)

    def _launch_agent(
        self, mode: planning.Mode, provider: str, repo: str, command: list[str], *, prompt: str | None = None,
        branch: str | None, gate: bool, name: str | None, hooks: LifecycleHooks | None, shared_dir: Path | None,
        shared_mount: str, timezone: str | None, project_id: str, task_id: str, dossier_path: Path | str | None,
        unrestricted: bool, gpu: bool, memory: str | None, cpus: str | None, human_name: str | None,
        human_email: str | None, authorship: str | None, web_token: str | None = None,
        publish: tuple[str, ...] = (), directory: planning.DirectoryRules = planning.NO_RULES,
    ) -> RunPlan:  # fmt: skip
        planning.check_shared(shared_dir, shared_mount)
        plan = self._plan(mode, repo, name, gate, project_id, task_id, directory)
        self._check_host_paths(plan.local_repo, shared_dir, allowed=directory.allowed)
        plan = self._behind_gate(plan)
        image, installed = self._image_for(provider)
        with self._launching(plan) as (resources, task_dir):
            config_dir = self._agent_config(plan, provider, prompt, task_dir, web_token)
            prepared = self._agent_environment(
                plan, provider, task_dir, config_dir, resources, installed=installed,
                branch=branch, unrestricted=unrestricted, timezone=planning.detect_timezone(timezone),
                **planning.truthy(human_name=human_name, human_email=human_email, authorship=authorship),
                **({"shared_dir": Path(shared_dir), "shared_mount": shared_mount} if shared_dir else {}),
            )  # fmt: skip
            shared = [Path(shared_dir)] if shared_dir else []
            own_git = workspaces.prepare(self.sandbox.config, plan, shared, branch_only=directory.branch_only)
            self.launch_prepared(
                env=prepared.env, volumes=[*prepared.volumes, *own_git], image=image, command=command,
                name=plan.container,
                task_dir=task_dir, gpu=gpu, memory=memory, cpus=cpus, unrestricted=unrestricted, hooks=hooks,
                extra_args=[*plan.podman_args(), *publish], hostname=plan.container, project_id=plan.project_id,
                task_id=plan.task_id, dossier_path=dossier_path, per_container=resources, context=prepared.context,
                allow_dangerous_mounts=directory.allowed,
            )  # fmt: skip
        return plan

    @contextmanager
    def _launching(self, plan: RunPlan) -> Iterator[tuple[PerContainerResources, Path]]:
        """The part of a launch that leaves traces; they are taken back when it fails, also by the next command.

        Yields the container's runtime resources and its private task directory (0700).
        """
        from terok_sandbox import launch

        cfg = self.sandbox.config
        workspaces.sweep(cfg)
        with workspaces.removed_on_failure(cfg, plan), launch.guarded(plan.container, cfg=cfg):
            resources = launch.allocate_per_container_resources(cfg, plan.container)
            task_dir = Path(tempfile.gettempdir()) / f"{planning.NAME_PREFIX}{plan.run_id}-{secrets.token_hex(4)}"
            launch.note_temp_dir(plan.container, task_dir, cfg=cfg)
            task_dir.mkdir(mode=0o700)
            launch.note_token(plan.container, plan.scope, plan.subject, cfg=cfg)
            yield resources, task_dir

    def _image_for(self, provider: str) -> tuple[str, frozenset[str]]:
        """An image that holds *provider*, and what else it holds (empty: not known)."""
        from terok_executor.container.build import ImageBuilder

        tag = self._ensure_images()
        installed = frozenset(ImageBuilder.image_agents(tag))
        if installed and provider not in installed:
            wanted = ",".join(sorted({*installed, provider}))
            again = command_line("terok-executor", "build", "--base", self._base_image, "--agents", wanted)
            raise SystemExit(
                f"cannot run agent `{provider}`: image `{tag}` does not hold it"
                f" (it holds {', '.join(sorted(installed))})\n"
                f"hint: build one with `{again}`"
            )
        return tag, installed

    def _ensure_images(self) -> str:
        """The tag of the default agent image, built when there is none."""
        from terok_executor.container.build import ImageBuilder

        return ImageBuilder(self._base_image, self._family).ensure_default_l1(_configured_agents())

    def _ensure_sidecar_image(self, tool: str) -> str:
        """The tag of the image that holds one tool."""
        from terok_executor.container.build import ImageBuilder

        return ImageBuilder(self._base_image, self._family).build_sidecar(tool_name=tool)

    def _setup_gate(self, url: str) -> tuple[str, str]:
        """Bring the mirror of *url* up to date; return the gate's address of it, token included, and the token.

        Raises:
            SystemExit: the upstream cannot be mirrored.
        """
        path = gating.sync(self.sandbox.config, url)
        token = self.sandbox.mint_gate_token()
        return self.sandbox.gate_url(path, token), token

    def _agent_config(
        self, plan: RunPlan, provider: str, prompt: str | None, task_dir: Path, web_token: str | None
    ) -> Path:
        """Write the agent's private configuration; it lies inside the 0700 task directory."""
        from terok_executor import paths
        from terok_executor.provider.agents import AgentConfigSpec, prepare_agent_config_dir
        from terok_executor.provider.instructions import resolve_instructions

        spec = AgentConfigSpec(
            tasks_root=task_dir, task_id=plan.run_id, subagents=(), prompt=prompt, provider=provider,
            instructions=resolve_instructions({}, provider), mounts_base=paths.mounts_dir(),
        )  # fmt: skip
        config_dir = prepare_agent_config_dir(spec)
        if web_token is not None:
            (config_dir / "toad.token").touch(mode=0o600)
            (config_dir / "toad.token").write_text(web_token, encoding="ascii")
        return config_dir

    def _agent_environment(
        self, plan: RunPlan, provider: str, task_dir: Path, config_dir: Path, resources: PerContainerResources,
        **fields: Any,
    ) -> ContainerEnvResult:  # fmt: skip
        from terok_executor import paths
        from terok_executor.container.env import HOME_DIR, ContainerEnvSpec, assemble_container_env

        spec = ContainerEnvSpec(
            task_id=plan.subject, provider_name=provider, workspace_host_path=self._workspace(plan, task_dir),
            code_repo=plan.code_repo, credential_scope=plan.scope, agent_config_dir=config_dir, task_dir=task_dir,
            envs_dir=paths.mounts_dir(), gate=plan.gate,
            home_dir=self.sandbox.task_state_dir(plan.container) / f"{HOME_DIR}-{plan.run_id}", **fields,
        )  # fmt: skip
        return assemble_container_env(spec, self.roster, per_container=resources)

    def _workspace(self, plan: RunPlan, task_dir: Path) -> Path:
        """The directory mounted at ``/workspace``: the caller's own, or a fresh one that the container clones into."""
        if plan.local_repo is not None:
            return plan.local_repo
        workspace = task_dir / "workspace"
        workspace.mkdir(mode=0o700)
        (workspace / ".new-task-marker").touch()
        if plan.mirror is not None and plan.code_repo is not None:
            # Only a head start; without it the container clones. The address goes in without its token.
            address = plan.code_repo.replace(f"{plan.gate_token}@", "", 1)
            key = plan.mirror.path.name.removesuffix(".git")
            seed_workspace_from_clone_cache(workspace, key, origin_url=address, cfg=self.sandbox.config)
        return workspace

    def _after(self, plan: RunPlan, timeout: int, hooks: LifecycleHooks | None, follow: bool) -> None:
        """Follow the container to its end if that is wanted, and say what became of its pushes, or where they go."""
        if follow:
            self._follow(plan.container, timeout, hooks)
            workspaces.bring_back(self.sandbox.config, plan.container)
        else:
            workspaces.announce(plan)
        if plan.mirror is not None:
            print(plan.mirror.report() if follow else plan.mirror.announce(), flush=True)

    def _follow(self, name: str, timeout: int, hooks: LifecycleHooks | None) -> None:
        self.last_exit_code = following.follow(
            name, deadline_s=timeout + _FOLLOW_MARGIN_S, on_ready=lambda: _fire(hooks, "post_ready")
        )
        print(following.explain_exit(name, self.last_exit_code, timeout), flush=True)
        _fire(hooks, "post_stop")


def _configured_agents() -> str | tuple[str, ...]:
    """The agent selection of the user's configuration, else every agent."""
    from terok_executor.config import image_agents
    from terok_executor.roster import AgentRoster

    return AgentRoster.parse_selection(image_agents() or "all")


def _check_name(name: str) -> None:
    from terok_native import _lib

    _lib.base_check_container_name(name)


def _is_ready(line: str) -> bool:
    return _CLI_READY in line or following.INIT_COMPLETE.decode() in line


def _fire(hooks: LifecycleHooks | None, moment: str) -> None:
    hook = getattr(hooks, moment, None)
    if hook is not None:
        hook()


__all__ = ["AgentRunner", "repo_key"]
