"""One project as an object, and what concerns several: the gate they share, deriving and deleting one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_native.kept import kept

from terok.lib.domain.project_deletion import DeleteProjectResult

if TYPE_CHECKING:
    from terok_sandbox import GitGate, SSHInitResult, SSHManager

    from terok.lib.core.project_model import ProjectConfig
    from terok.lib.core.projects import PresetInfo
    from terok.lib.domain.acp import ACPEndpoint
    from terok.lib.domain.storage import ProjectDetail
    from terok.lib.domain.task import Task
    from terok.lib.orchestration.task_runners import HeadlessRunRequest

__all__ = [
    "AgentManager", "DeleteProjectResult", "Project", "delete_project", "derive_project",
    "find_projects_sharing_gate", "get_project", "list_projects", "make_git_gate", "make_ssh_manager",
    "project_image_exists", "validate_gate_upstream_match",
]  # fmt: skip


@kept
class AgentManager:
    """The agents' settings of a project."""

    __slots__ = ("_config",)

    def __init__(self, config: ProjectConfig) -> None:
        self._config = config

    def resolve_config(self, preset: str | None = None, cli_overrides: dict | None = None) -> dict:
        """Return the merged settings: global, project, *preset*, *cli_overrides*."""
        from terok.lib.orchestration import agent_config

        return agent_config.resolve_agent_config(
            self._config.id, agent_config=self._config.agent_config, project_root=self._config.root, preset=preset,
            cli_overrides=cli_overrides,
        )  # fmt: skip

    def resolve_instructions(self, provider_name: str, preset: str | None = None) -> str:
        """Return the instructions that *provider_name* would get."""
        from terok.lib.integrations import executor

        return executor.resolve_instructions(self.resolve_config(preset), provider_name, project_root=self._config.root)

    def get_provider(self, name: str | None = None) -> Any:
        """Return the entry of *name*, of the project's agent, or of the default one."""
        from terok.lib.integrations import executor

        return executor.get_provider(name, default_agent=self._config.default_agent)


@kept
class Project:
    """A project. Making the object reads nothing; equal to every other object of the same project."""

    __slots__ = ("_agents", "_config", "_gate", "_ssh")

    def __init__(self, config: ProjectConfig) -> None:
        self._ssh: SSHManager | None = None
        self._gate: GitGate | None = None
        self._agents, self._config = AgentManager(config), config

    @property
    def id(self) -> str:
        """The project's id."""
        return self._config.id

    @property
    def config(self) -> ProjectConfig:
        """What project.yml and the global settings say."""
        return self._config

    @property
    def security_class(self) -> str:
        """``online`` or ``gatekeeping``."""
        return self._config.security_class

    @property
    def gate(self) -> GitGate:
        """The project's mirror on the host."""
        gate = self._gate or make_git_gate(self._config)
        self._gate = gate
        return gate

    @property
    def ssh(self) -> SSHManager:
        """The project's SSH keys; opens the vault the first time."""
        manager = self._ssh or make_ssh_manager(self._config)
        self._ssh = manager
        return manager

    @property
    def agents(self) -> AgentManager:
        """The agents' settings."""
        return self._agents

    @property
    def tasks(self) -> list[Task]:
        """Every task, with the state of its container."""
        return self.list_tasks()

    @property
    def needs_ssh_key_registration(self) -> bool:
        """Whether the upstream is reached over SSH, so that somebody must register the key there."""
        from terok.lib.integrations import sandbox

        return bool(sandbox.is_ssh_url(self._config.upstream_url))

    def create_task(self, *, name: str | None = None) -> Task:
        """Make a task; without a *name* one is found."""
        from terok.lib.orchestration import tasks

        return self.get_task(tasks.task_new(self.id, name=name))

    def get_task(self, task_id: str) -> Task:
        """Return the task as it is now; ``SystemExit`` when there is none of that id."""
        from terok.lib.domain.task import Task
        from terok.lib.orchestration import tasks

        return Task(self._config, tasks.get_task_meta(self.id, task_id))

    def list_tasks(self, *, status: str | None = None, mode: str | None = None) -> list[Task]:
        """Return the tasks, filtered; podman is asked once."""
        from terok.lib.domain.task import Task
        from terok.lib.orchestration import tasks

        found = [meta for meta in tasks.get_tasks(self.id) if mode is None or meta.mode == mode]
        states = tasks.get_all_task_states(self.id, found)
        for meta in found:
            meta.container_state = states.get(meta.task_id)
        return [Task(self._config, meta) for meta in found if status is None or meta.status == status]

    def acp_endpoints(self) -> list[ACPEndpoint]:
        """Return the agent endpoint of every running task; sockets are tried, nothing is started."""
        from terok.lib.domain import acp

        return acp.endpoints(self)

    def run_headless(self, request: HeadlessRunRequest) -> Task:
        """Run a prompt in a new task."""
        from terok.lib.orchestration import task_runners

        return self.get_task(task_runners.task_run_headless(request))

    def followup_headless(self, task_id: str, prompt: str, follow: bool = True) -> None:
        """Give a headless task that has ended another prompt."""
        from terok.lib.orchestration import task_runners

        task_runners.task_followup_headless(self.id, task_id, prompt, follow)

    def delete(self) -> DeleteProjectResult:
        """Archive the project and remove it."""
        return delete_project(self.id)

    def generate_dockerfiles(self) -> None:
        """Write the project's Dockerfiles."""
        from terok.lib.orchestration import image

        image.generate_dockerfiles(self.id)

    def build_images(self, *, include_dev: bool = False, refresh_agents: bool = False, full: bool = False) -> None:
        """Build the project's images; *full*: without podman's cache."""
        from terok.lib.orchestration import image

        image.build_images(self.id, include_dev=include_dev, refresh_agents=refresh_agents, full_rebuild=full)

    def state(self, *, gate_commit_provider: Callable[[str], dict | None] | None = None) -> dict:
        """Return what is there of the project; see :func:`terok.lib.domain.project_state.get_project_state`."""
        from terok.lib.domain import project_state

        return project_state.get_project_state(self.id, gate_commit_provider, project=self._config)

    def storage_detail(self) -> ProjectDetail:
        """Return what the project takes on disk."""
        from terok.lib.domain import storage

        return storage.get_project_storage_detail(self.id)

    def provision_ssh_key(
        self, *, key_type: str = "ed25519", comment: str | None = None, force: bool = False
    ) -> SSHInitResult:
        """Give the project its SSH key, which is made when needed; see :meth:`terok_sandbox.SSHManager.init`."""
        return self.ssh.init(key_type=key_type, comment=comment, force=force)

    def register_ssh_key(self, key_id: int) -> None:
        """Let the project use a key that the vault has already; doing it again changes nothing."""
        from terok.lib.domain import vault

        with vault.vault_db(prompt_on_tty=True) as db:
            db.assign_ssh_key(self.id, key_id)

    def pause_for_ssh_key_registration_if_needed(self) -> None:
        """For an upstream over SSH: ask to register the key, and wait for Enter."""
        if not self.needs_ssh_key_registration:
            return
        print(f"\nRegister the key above at {self._config.upstream_url}, then press Enter to go on.", flush=True)
        try:
            input()
        except EOFError:
            print("No answer can be read here: going on.", flush=True)

    def list_presets(self) -> list[PresetInfo]:
        """Return the presets that the project can use."""
        from terok.lib.core import projects

        return projects.list_presets(self.id)

    def __eq__(self, other: Any) -> bool:
        return self.id == other.id if isinstance(other, Project) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Project(id={self.id!r}, security_class={self.security_class!r})"


def get_project(project_id: str) -> Project:
    """Return a project; ``SystemExit`` when it is unknown or broken."""
    from terok.lib.core import projects

    return Project(projects.load_project(project_id))


def list_projects() -> list[Project]:
    """Return every project that can be loaded; the others are named on standard error."""
    from terok.lib.core import projects

    return [Project(config) for config in projects.list_projects()]


def project_image_exists(project_id: str) -> bool:
    """Tell whether the project's image is there."""
    from terok.lib.core.images import project_cli_image
    from terok.lib.integrations import sandbox

    return bool(sandbox.PodmanRuntime().image(project_cli_image(project_id)).exists())


def find_projects_sharing_gate(gate_path: Path, exclude_project: str | None = None) -> list[tuple[str, str | None]]:
    """Return id and upstream of every project that has this mirror, or may have it because it cannot be read."""
    found = _sharing(gate_path, exclude_project)
    return [(name, upstream) for name, upstream, _ in found]


def _sharing(gate_path: Path, exclude_project: str | None) -> list[tuple[str, str | None, bool]]:
    """Id, upstream, and whether it is known to have the mirror."""
    from terok.lib.domain import broken

    wanted = Path(gate_path).resolve()
    return [
        (name, upstream, path is not None)
        for name, path, upstream in broken.gate_claims()
        if name != exclude_project and (path is None or Path(path).resolve() == wanted)
    ]


def validate_gate_upstream_match(project_id: str) -> None:
    """Refuse to work on a mirror that another project fills from elsewhere.

    Raises:
        SystemExit: another project has the same mirror and another upstream, or one of them has none.
    """
    from terok.lib.core import projects

    project = projects.load_project(project_id)
    for other, upstream, known in _sharing(project.gate_path, project.id):
        if known and (upstream != project.upstream_url or upstream is None):
            raise SystemExit(
                f"cannot use the mirror `{project.gate_path}`: two projects fill it from different places\n"
                f"  {project.id}: {project.upstream_url or 'no upstream'}\n  {other}: {upstream or 'no upstream'}\n"
                "hint: give one of them a `gate.path` of its own"
            )


def make_git_gate(config: ProjectConfig, *, use_personal_ssh: bool | None = None) -> GitGate:
    """Return the project's mirror; nothing is touched yet. *use_personal_ssh*: by default as the project says."""
    from terok.lib.core import config as settings
    from terok.lib.integrations import sandbox

    gate: GitGate = sandbox.GitGate(
        validate_gate_fn=validate_gate_upstream_match,
        clone_cache_base=settings.make_sandbox_config().clone_cache_base_path,
        use_personal_ssh=config.ssh_use_personal if use_personal_ssh is None else use_personal_ssh,
        **{name: getattr(config, name) for name in ("gate_path", "upstream_url", "default_branch")},
        scope=config.id,
    )
    return gate


def make_ssh_manager(config: ProjectConfig) -> SSHManager:
    """Open the vault for the project's SSH keys, asking on a terminal; close the manager when done."""
    from terok.lib.core import config as settings
    from terok.lib.integrations import sandbox

    cfg = settings.make_sandbox_config()
    manager: SSHManager = sandbox.SSHManager.open_for_config(scope=config.id, cfg=cfg, prompt_on_tty=True)
    return manager


def derive_project(source_id: str, new_id: str) -> Project:
    """Make a project from another one, with the same mirror and the same SSH keys.

    The vault is opened before anything is written, so that a locked one leaves nothing half-made.
    """
    from terok.lib.core import config as settings
    from terok.lib.core import projects
    from terok.lib.domain import vault

    cfg = settings.make_sandbox_config()
    if not cfg.db_path.exists():
        projects.derive_project(source_id, new_id)
        return get_project(new_id)
    with vault.vault_db(prompt_on_tty=True, cfg=cfg) as db:
        keys = [key.id for key in db.list_ssh_keys_for_scope(source_id)]
        projects.derive_project(source_id, new_id)
        for key in keys:
            db.assign_ssh_key(new_id, key)
    return get_project(new_id)


def delete_project(project_id: str) -> DeleteProjectResult:
    """Archive the project and remove it; see :mod:`terok.lib.domain.project_deletion`."""
    from terok.lib.domain import project_deletion

    return project_deletion.delete(project_id)
