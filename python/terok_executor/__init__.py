"""Runs coding agents in hardened, supervised containers.

Every public name is looked up when it is first used: importing the package reads no configuration, starts nothing and
loads no other module.
"""

from terok_util.lazy import lazily

_HOMES = {
    "ACPEndpointStatus": "acp.endpoint",
    "AGENTS_LABEL": "container.build",
    "AGENT_COMMANDS": "commands:COMMANDS",
    "AGENT_PROVIDERS": "provider.providers",
    "AUTH_PROVIDERS": "credentials.auth",
    "AgentConfigSpec": "provider.agents",
    "AgentProvider": "provider.providers",
    "AgentRoster": "roster.loader",
    "AgentRunner": "container.runner",
    "AuthSession": "credentials.auth",
    "Authenticator": "credentials.auth",
    "BuildError": "container.build",
    "CLIOverrides": "provider.providers",
    "COMMANDS": "_tree",
    "ConfigScope": "/terok_util.config_stack",
    "ConfigStack": "/terok_util.config_stack",
    "ContainerEnvSpec": "container.env",
    "DEFAULT_BASE_IMAGE": "container.build",
    "ExecutorConfigView": "config_schema",
    "ImageBuilder": "container.build",
    "ImageSet": "container.build",
    "KrunHost": "krun",
    "KrunHostKeypair": "krun",
    "PROVIDER_NAMES": "provider.providers",
    "RawImageSection": "config_schema",
    "SharedMountStorageInfo": "storage",
    "TaskStorageInfo": "storage",
    "VAULT_COMMANDS": "_tree",
    "__version__": "_version",
    "acp_socket_is_live": "acp.endpoint",
    "assemble_container_env": "container.env",
    "build_project_image": "container.build",
    "bundled_default_instructions": "provider.instructions",
    "ensure_krun_host_keypair": "krun",
    "ensure_sandbox_ready": "sandbox",
    "get_provider": "provider.providers",
    "inject_prompt": "container.inject",
    "list_authenticated_agents": "acp.roster",
    "parse_md_agent": "provider.agents",
    "prepare_agent_config_dir": "provider.agents",
    "prepare_oauth_session": "credentials.auth",
    "resolve_instructions": "provider.instructions",
    "resolve_provider_value": "provider.providers",
    "scan_leaked_credentials": "credentials.vault_commands",
    "seed_workspace_from_clone_cache": "container.cache",
    "store_api_key": "credentials.auth",
}

#: Tables that callers replace in their own module; never remembered here.
_SHARED = {"AGENT_PROVIDERS", "AUTH_PROVIDERS", "PROVIDER_NAMES"}

__all__, __getattr__, __dir__ = lazily(__name__, _HOMES, _SHARED)
