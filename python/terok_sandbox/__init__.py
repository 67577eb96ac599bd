"""Hardened rootless containers: launch facade, runtimes, configuration, ports, set-up.

Every public name is looked up when it is first used: importing the package reads no configuration, starts nothing and
loads no other module. A name whose engine this version does not have raises ``ImportError`` saying so.
"""

# Name to module; ``/`` marks one of another package, ``:`` the name it has there.
from terok_util.lazy import lazily

_HOMES = {
    # Configuration
    "CONTAINER_RUNTIME_DIR": "config",
    "ConfigScope": "/terok_util.config_stack",
    "RawRunSection": "config_schema",
    "RawSSHSection": "config_schema",
    "SERVICES_TCP_OPTOUT_YAML": "config",
    "Sandbox": "sandbox",
    "SandboxConfig": "config",
    "SandboxConfigView": "config_schema",
    "ServicesMode": "config",
    "gate_use_personal_ssh_default": "config",
    # Set-up
    "SetupVerdict": "setup_stamp",
    "installed_versions": "setup_stamp",
    "needs_setup": "setup_stamp",
    "read_stamp": "setup_stamp",
    "sandbox_uninstall": "commands:_handle_sandbox_uninstall",
    "stamp_path": "setup_stamp",
    # One container's services
    "GateServer": "gate.server",
    "PerContainerResources": "launch",
    "allocate_per_container_resources": "launch",
    "mint_gate_token": "gate.tokens",
    # Runtimes and facade
    "ContainerRuntime": "runtime",
    "DEFAULT_GUEST_SSHD_PORT": "runtime",
    "DEFAULT_SSH_HOST": "runtime",
    "ExecResult": "runtime",
    "GpuConfigError": "runtime",
    "Image": "runtime",
    "KrunRuntime": "runtime",
    "LifecycleHooks": "sandbox",
    "NullRuntime": "runtime",
    "PodmanRuntime": "runtime",
    "READY_MARKER": "sandbox",
    "RunSpec": "sandbox",
    "Sharing": "sandbox",
    "TcpSSHTransport": "runtime",
    "VolumeSpec": "sandbox",
    "check_gpu_available": "runtime",
    "podman_port_resolver": "runtime",
    # Egress firewall
    "EnvironmentCheck": "integrations.shield",
    "ShieldHooks": "integrations.shield",
    "ShieldManager": "integrations.shield",
    "check_environment": "integrations.shield",
    "resolve_container_state_dir": "integrations.shield",
    # Git gate
    "GateAuthNotConfigured": "gate.mirror",
    "GateStalenessInfo": "gate.mirror",
    "GitGate": "gate.mirror",
    "is_ssh_url": "gate.mirror",
    # Vault
    "CODEX_SHARED_OAUTH_MARKER": "vault.daemon.token_broker",
    "CredentialDB": "vault.store.db",
    "NoPassphraseError": "vault.store.encryption",
    "PHANTOM_CREDENTIALS_MARKER": "vault.daemon.token_broker",
    "RecoveryStatus": "vault.store.recovery",
    "WrongPassphraseError": "vault.store.encryption",
    "systemd_creds_has_tpm2": "vault.store.systemd_creds",
    "handle_vault_seal": "commands.vault",
    "handle_vault_to_keyring": "commands.vault",
    # SSH keys
    "SSHInitResult": "vault.ssh.manager",
    "SSHManager": "vault.ssh.manager",
    "ensure_infra_keypair": "vault.ssh.keypair",
    "public_line_of": "vault.ssh.keypair",
    # Ports
    "claim_port": "port_registry",
    "release_port": "port_registry",
    # Health checks
    "CheckVerdict": "doctor",
    "DoctorCheck": "doctor",
    "sandbox_doctor_checks": "doctor",
    # Mandatory access control
    "SelinuxCheckResult": "_util._selinux",
    "SelinuxStatus": "_util._selinux",
    "check_selinux_status": "_util._selinux",
    "selinux_install_command": "_util._selinux",
    "selinux_install_script": "_util._selinux",
    "AppArmorCheckResult": "_util._apparmor",
    "AppArmorStatus": "_util._apparmor",
    "check_apparmor_status": "_util._apparmor",
    "apparmor_install_command": "_util._apparmor",
    "apparmor_install_script": "_util._apparmor",
    # Small things
    "BestEffortLogger": "_util._logging",
    "CommandTree": "/terok_util.cli_types",
    "bold": "_stage",
    "red": "_stage",
    "stage_line": "_stage",
    "yaml_update_section": "_yaml",
    "yellow": "_stage",
    "__version__": "_version",
}

__all__, __getattr__, __dir__ = lazily(__name__, _HOMES)
