"""The settings of ``config.yml``, and the directories they name.

Every function looks at the files' time stamps, so that a process that runs for days sees edits at its next question.
A layer that cannot be used and a section that is not in order are told on stderr once and keep their defaults; the rest
counts. :func:`config_problems` lists what is wrong, and :func:`require_valid_config` refuses to go on.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from terok_native import _lib

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig

ServicesMode = Literal["tcp", "socket"]

SHIELD_SECURITY_HINT = "See: https://terok-ai.github.io/terok/shield-security/"
#: Whether a login of Codex may stay in the vault only when experimental features are on.
CODEX_VAULTED_OAUTH_REQUIRES_EXPERIMENTAL = True


class _Live:
    """Stands for the settings as the files are now, as an instance of ``RawGlobalConfig`` for whoever looks into it."""

    def __getattr__(self, name: str) -> Any:
        from terok.lib.core.yaml_schema import RawGlobalConfig

        return getattr(RawGlobalConfig.model_validate(_lib.project_settings(False)), name)


_LIVE = _Live()

#: Set one of them to ``None`` to have everything read again, or to settings of your own to have those used.
_validated_config_cache: Any = _LIVE
_raw_config_cache: dict[str, Any] | None = None

_raw_read: dict[str, Any] | None = None
_prefix_told = ""
_experimental = False


def _look() -> None:
    """Tell the engine where this Python is installed, and start afresh after somebody emptied the cache."""
    global _prefix_told, _validated_config_cache
    if sys.prefix != _prefix_told:
        _lib.project_settings_prefix(sys.prefix)
        _prefix_told = sys.prefix
    if _validated_config_cache is None:
        _lib.project_settings_forget()
        _validated_config_cache = _LIVE


def _value(key: str) -> Any:
    """Return the checked value of ``section.key`` with its default."""
    _look()
    if _validated_config_cache is _LIVE:
        return _lib.project_setting(key)
    found = _validated_config_cache
    for part in key.split("."):
        found = getattr(found, part, None)
    return found


def load_global_config() -> dict[str, Any]:
    """Return the merged files as they are, unchecked; a copy of your own."""
    global _raw_config_cache, _raw_read
    _look()
    if _raw_config_cache is None or _raw_config_cache is _raw_read:
        _raw_config_cache = _raw_read = _lib.project_settings(True)
        return dict(_raw_read)
    return _raw_config_cache


def get_global_section(key: str) -> dict[str, Any]:
    """Return one merged section, unchecked; ``{}`` when it is missing or no mapping."""
    section = load_global_config().get(key)
    return section if isinstance(section, dict) else {}


def config_problems() -> list[str]:
    """Return what is wrong with the configuration, one line each: unusable files, unknown keys, impossible values."""
    _look()
    return _lib.project_settings_problems()


def require_valid_config() -> None:
    """Raise ``SystemExit`` while the configuration is not in order: its author meant something else than applies."""
    _look()
    if _validated_config_cache is _LIVE:
        _lib.project_settings_require()


def global_config_search_paths() -> list[Path]:
    """Return every ``config.yml`` that may exist, lowest priority first."""
    _look()
    return _lib.project_settings_files()


def global_config_path() -> Path:
    """Return the ``config.yml`` that people edit: ``$TEROK_CONFIG_FILE`` or the user's; it need not exist."""
    return _place("global_config")


def get_prefix() -> Path:
    """Return the directory of the Python installation; ``$TEROK_PREFIX`` replaces it."""
    named = os.environ.get("TEROK_PREFIX")
    return Path(named or sys.prefix).expanduser().resolve()


def get_global_human_name() -> str | None:
    """Return ``git.human_name``."""
    return _value("git.human_name")


def get_global_human_email() -> str | None:
    """Return ``git.human_email``."""
    return _value("git.human_email")


def get_global_default_agent() -> str | None:
    """Return ``default_agent``."""
    return _value("default_agent")


def get_global_default_shell() -> str | None:
    """Return ``default_shell``, or its older name ``default_login``."""
    return _value("default_shell") or _value("default_login")


def get_global_default_login() -> str | None:
    """Return ``default_login``, or its newer name ``default_shell``."""
    return _value("default_login") or _value("default_shell")


def get_global_image_agents() -> str:
    """Return ``image.agents``, or ``all``."""
    return _value("image.agents") or "all"


def get_global_image_base_image() -> str:
    """Return ``image.base_image``."""
    return _value("image.base_image")


def get_tui_default_tmux() -> bool:
    """Return ``tui.default_tmux``."""
    return _value("tui.default_tmux")


def get_tui_external_editor() -> bool:
    """Return ``tui.external_editor``."""
    return _value("tui.external_editor")


def get_tui_desktop_entry() -> str:
    """Return ``tui.desktop_entry``: ``auto``, ``skip`` or ``install``."""
    return _value("tui.desktop_entry")


def get_logs_partial_streaming() -> bool:
    """Return ``logs.partial_streaming``."""
    return _value("logs.partial_streaming")


def get_task_name_categories() -> list[str] | None:
    """Return ``tasks.name_categories``."""
    return _value("tasks.name_categories")


def get_vault_bypass() -> bool:
    """Return ``vault.bypass_no_secret_protection``."""
    return _value("vault.bypass_no_secret_protection")


def get_services_mode() -> ServicesMode:
    """Return ``services.mode``."""
    return _value("services.mode")


def get_vault_transport() -> Literal["socket", "direct"]:
    """Return how containers reach the vault: by ``socket``, or ``direct`` when services listen on TCP."""
    return "socket" if get_services_mode() == "socket" else "direct"


def get_vault_token_broker_port() -> int | None:
    """Return ``vault.port``."""
    return _value("vault.port")


def get_vault_ssh_signer_port() -> int | None:
    """Return ``vault.ssh_signer_port``."""
    return _value("vault.ssh_signer_port")


def get_gate_server_port() -> int | None:
    """Return ``gate_server.port``."""
    return _value("gate_server.port")


def get_gate_server_suppress_warning() -> bool:
    """Return ``gate_server.suppress_systemd_warning``."""
    return _value("gate_server.suppress_systemd_warning")


def get_shield_bypass_firewall_no_protection() -> bool:
    """Return ``shield.bypass_firewall_no_protection``."""
    return _value("shield.bypass_firewall_no_protection")


def get_shield_drop_on_task_run() -> bool:
    """Return ``shield.drop_on_task_run``."""
    return _value("shield.drop_on_task_run")


def get_shield_on_task_restart() -> str:
    """Return ``shield.on_task_restart``: ``retain`` or ``up``."""
    return _value("shield.on_task_restart")


def get_shield_audit() -> bool:
    """Return ``shield.audit``."""
    return _value("shield.audit")


def get_public_host() -> str:
    """Return ``$TEROK_PUBLIC_HOST``, or ``127.0.0.1``."""
    return os.environ.get("TEROK_PUBLIC_HOST", "").strip() or "127.0.0.1"


def get_global_hooks() -> tuple[str | None, str | None, str | None, str | None]:
    """Return the host commands of ``run.hooks``: before and after the start, when ready, after the stop."""
    return (
        _value("run.hooks.pre_start"),
        _value("run.hooks.post_start"),
        _value("run.hooks.post_ready"),
        _value("run.hooks.post_stop"),
    )


def get_global_run_runtime() -> str | None:
    """Return ``run.runtime``: ``crun``, ``krun`` or nothing."""
    return _value("run.runtime")


def get_global_agent_config() -> dict[str, Any]:
    """Return the section ``agent`` as written."""
    return get_global_section("agent")


def is_experimental() -> bool:
    """Tell whether experimental features are on, by option or by ``experimental`` in the configuration."""
    return _experimental or bool(_value("experimental"))


def set_experimental(value: bool) -> None:
    """Turn experimental features on for this process; what the configuration turned on stays on."""
    global _experimental
    _experimental = value


def make_sandbox_config() -> "SandboxConfig":
    """Return the sandbox's configuration as our settings have it; creates no directory and claims no port."""
    from terok_sandbox.config import SandboxConfig

    services: dict[str, Any] = {
        "services_mode": get_services_mode(),
        "ssh_signer_port": get_vault_ssh_signer_port(),
        "token_broker_port": get_vault_token_broker_port(),
        "gate_port": get_gate_server_port(),
    }
    firewall: dict[str, Any] = {
        "shield_audit": get_shield_audit(),
        "shield_bypass": get_shield_bypass_firewall_no_protection(),
    }
    return SandboxConfig(**services, **firewall, vault_dir=vault_dir())


def _agent_switch(agent: str, key: str) -> bool:
    """Tell whether a key of ``agent.<agent>`` is exactly true; a text or a number that looks like it is not."""
    agents = _value("agent")
    section = agents.get(agent) if isinstance(agents, dict) else None
    return isinstance(section, dict) and section.get(key) is True


def _through_vault(permitted: bool, wanted: bool, exposed: bool) -> bool:
    """Tell whether a login is used and stays in the vault: what containers see anyway needs no vault."""
    return permitted and wanted and not exposed


def get_claude_allow_oauth() -> bool:
    """Tell whether ``agent.claude.allow_oauth`` is true."""
    return _agent_switch("claude", "allow_oauth")


def get_claude_expose_oauth_token() -> bool:
    """Tell whether ``agent.claude.expose_oauth_token`` is true."""
    return _agent_switch("claude", "expose_oauth_token")


def get_codex_allow_oauth() -> bool:
    """Tell whether ``agent.codex.allow_oauth`` is true."""
    return _agent_switch("codex", "allow_oauth")


def get_codex_expose_oauth_token() -> bool:
    """Tell whether ``agent.codex.expose_oauth_token`` is true."""
    return _agent_switch("codex", "expose_oauth_token")


def is_claude_oauth_proxied() -> bool:
    """Tell whether Claude's login is used through the vault."""
    return _through_vault(is_experimental(), get_claude_allow_oauth(), get_claude_expose_oauth_token())


def is_claude_oauth_exposed() -> bool:
    """Tell whether containers get Claude's login itself."""
    return is_experimental() and get_claude_expose_oauth_token()


def is_codex_oauth_proxied() -> bool:
    """Tell whether Codex's login is used through the vault."""
    permitted = is_experimental() or not CODEX_VAULTED_OAUTH_REQUIRES_EXPERIMENTAL
    return _through_vault(permitted, get_codex_allow_oauth(), get_codex_expose_oauth_token())


def is_codex_oauth_exposed() -> bool:
    """Tell whether containers get Codex's login itself."""
    return is_experimental() and get_codex_expose_oauth_token()


def exposed_credential_providers() -> frozenset[str]:
    """Return the providers whose login itself reaches containers."""
    exposed = {"claude": is_claude_oauth_exposed(), "codex": is_codex_oauth_exposed()}
    return frozenset(name for name, on in exposed.items() if on)


def is_oauth_enabled_for(provider: str) -> bool:
    """Tell whether a provider's login may be used at all; only Claude and Codex have switches."""
    match provider:
        case "claude":
            return is_claude_oauth_proxied() or is_claude_oauth_exposed()
        case "codex":
            return is_codex_oauth_proxied() or is_codex_oauth_exposed()
    return True


def _place(name: str) -> Path:
    _look()
    return _lib.project_place(name)


def projects_dir() -> Path:
    """Return the directory of the system's projects."""
    return _place("projects")


def user_projects_dir() -> Path:
    """Return the directory of the user's projects; ``paths.user_projects_dir`` moves it."""
    return _place("user_projects")


def user_presets_dir() -> Path:
    """Return the directory of the user's presets; ``paths.user_presets_dir`` moves it."""
    return _place("user_presets")


def bundled_presets_dir() -> Path:
    """Return the directory of the presets that come with the library."""
    return Path(__file__).resolve().parents[2] / "resources" / "presets"


def sandbox_live_dir() -> Path:
    """Return the directory of workspaces; ``$TEROK_SANDBOX_LIVE_DIR`` and ``paths.sandbox_live_dir`` move it."""
    return _place("sandbox_live")


def sandbox_live_mounts_dir() -> Path:
    """Return the directory of mounts that tasks share."""
    return _place("sandbox_live_mounts")


def gate_repos_dir() -> Path:
    """Return the directory of the bare mirrors; ``gate_server.repos_dir`` moves it."""
    return _place("gate_repos")


def build_dir() -> Path:
    """Return the directory of build contexts; ``paths.build_dir`` moves it."""
    return _place("build")


def archive_dir() -> Path:
    """Return the directory of what is kept of deleted projects and tasks."""
    return _place("archive")


def vault_dir() -> Path:
    """Return the directory of the vault; ``$TEROK_VAULT_DIR`` and ``credentials.dir`` move it."""
    if os.environ.get("TEROK_CREDENTIALS_DIR") and not os.environ.get("TEROK_VAULT_DIR"):
        import warnings

        warnings.warn("TEROK_CREDENTIALS_DIR is outdated: set TEROK_VAULT_DIR", DeprecationWarning, stacklevel=2)
    return _place("vault")
