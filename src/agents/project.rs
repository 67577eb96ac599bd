//! From a validated file to the plain values others use: defaults filled in, derived values made.

use base::text::shell_quote;
use indexmap::IndexMap;

use crate::model::{
    AuthProvider, Entry, HelpSpec, InstallSpec, MountDef, OpenCodeConfig, Provider, Roster, SidecarSpec, VaultRoute,
};
use crate::schema::{Auth, AuthKey, AuthMode, HelpSection, Kind, LogFormat, OpenCode, RawAgent, VaultRouteEntry};

/// Adds one entry to the tables. Call in sorted name order.
pub fn add(roster: &mut Roster, name: &str, raw: &RawAgent) {
    let label = raw.label.clone().unwrap_or_else(|| name.to_owned());
    if raw.kind != Kind::Runtime {
        roster.all_names.push(name.to_owned());
    }
    if raw.kind.is_agent() {
        roster.agent_names.push(name.to_owned());
        roster.providers.insert(name.to_owned(), provider(name, &label, raw));
    }
    if let Some(auth) = auth_provider(name, &label, raw) {
        roster.auth_providers.insert(name.to_owned(), auth);
    }
    if let Some(route) = &raw.vault {
        roster.vault_routes.insert(name.to_owned(), vault_route(name, route));
    }
    if let Some(sidecar) = &raw.sidecar {
        let tool_name = sidecar.tool_name.clone().unwrap_or_else(|| name.to_owned());
        let spec = SidecarSpec { tool_name, env_map: sidecar.env_map.clone() };
        roster.sidecar_specs.insert(name.to_owned(), spec);
    }
    if let Some(install) = &raw.install {
        let spec = InstallSpec {
            depends_on: install.depends_on.clone(),
            run_as_root: install.run_as_root.clone(),
            run_as_dev: install.run_as_dev.clone(),
        };
        roster.installs.insert(name.to_owned(), spec);
    }
    if let Some(help) = &raw.help {
        let section = match help.section {
            HelpSection::Agent => "agent",
            HelpSection::DevTool => "dev_tool",
        };
        let spec = HelpSpec { label: help.label.clone(), section: section.into() };
        roster.helps.insert(name.to_owned(), spec);
    }
    if raw.web_ingress {
        roster.web_ingress.push(name.to_owned());
    }
    add_mounts(roster, name, &label, raw);
    roster.entries.insert(name.to_owned(), Entry { label, kind: raw.kind.as_str().into() });
}

fn provider(name: &str, label: &str, raw: &RawAgent) -> Provider {
    let headless = raw.headless.clone().unwrap_or_default();
    let approve = raw.auto_approve.clone().unwrap_or_default();
    let session = raw.session.clone().unwrap_or_default();
    let abilities = raw.capabilities.clone().unwrap_or_default();
    let identity = raw.git_identity.clone().unwrap_or_default();
    Provider {
        name: name.to_owned(),
        label: label.to_owned(),
        binary: raw.binary.clone().unwrap_or_else(|| name.to_owned()),
        git_author_name: identity.name.unwrap_or_else(|| capitalise(name)),
        git_author_email: identity.email.unwrap_or_else(|| format!("noreply@{name}.ai")),
        headless_subcommand: headless.subcommand,
        prompt_flag: headless.prompt_flag,
        auto_approve_env: approve.env,
        auto_approve_flags: approve.flags,
        output_format_flags: headless.output_format_flags,
        model_flag: headless.model_flag,
        max_turns_flag: headless.max_turns_flag,
        verbose_flag: headless.verbose_flag,
        supports_session_resume: session.supports_resume,
        resume_flag: session.resume_flag,
        continue_flag: session.continue_flag,
        session_file: session.session_file,
        supports_agents_json: abilities.agents_json,
        supports_session_hook: session.supports_hook,
        supports_add_dir: abilities.add_dir,
        log_format: match abilities.log_format {
            LogFormat::Plain => "plain".into(),
            LogFormat::ClaudeStreamJson => "claude-stream-json".into(),
        },
        opencode_config: raw.opencode.as_ref().map(opencode),
        refuse_subcommands: raw.wrapper.clone().unwrap_or_default().refuse_subcommands,
    }
}

fn opencode(raw: &OpenCode) -> OpenCodeConfig {
    OpenCodeConfig {
        display_name: raw.display_name.clone(),
        base_url: raw.base_url.clone(),
        preferred_model: raw.preferred_model.clone(),
        fallback_model: raw.fallback_model.clone(),
        env_var_prefix: raw.env_var_prefix.clone(),
        config_dir: raw.config_dir.clone(),
        auth_key_url: raw.auth_key_url.clone(),
    }
}

/// First letter upper case, the rest lower case.
pub fn capitalise(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars.flat_map(char::to_lowercase)).collect(),
        None => String::new(),
    }
}

fn auth_provider(name: &str, label: &str, raw: &RawAgent) -> Option<AuthProvider> {
    match (&raw.auth, &raw.opencode) {
        (Some(auth), _) => Some(explicit_auth(name, label, auth)),
        (None, Some(backend)) if raw.kind.is_agent() => Some(derived_auth(name, label, backend)),
        _ => None,
    }
}

fn explicit_auth(name: &str, label: &str, auth: &Auth) -> AuthProvider {
    let typed = || auth.auth_key.as_ref().map(|key| key_command(name, label, key));
    AuthProvider {
        name: name.to_owned(),
        label: label.to_owned(),
        host_dir_name: auth.host_dir.clone(),
        container_mount: auth.container_mount.clone(),
        command: auth.command.clone().or_else(typed).unwrap_or_default(),
        banner_hint: auth.banner_hint.clone(),
        extra_run_args: auth.extra_run_args.clone(),
        modes: auth.modes.iter().map(|mode| mode_name(*mode).to_owned()).collect(),
        api_key_hint: auth.api_key_hint.clone(),
        post_capture_state: auth.post_capture_state.clone(),
    }
}

fn mode_name(mode: AuthMode) -> &'static str {
    match mode {
        AuthMode::Oauth => "oauth",
        AuthMode::ApiKey => "api_key",
    }
}

fn derived_auth(name: &str, label: &str, backend: &OpenCode) -> AuthProvider {
    let hint = || format!("Create a {} key at {}", backend.display_name, backend.auth_key_url);
    AuthProvider {
        name: name.to_owned(),
        label: label.to_owned(),
        host_dir_name: format!("_{name}-config"),
        container_mount: format!("/home/dev/{}", backend.config_dir),
        command: Vec::new(),
        banner_hint: String::new(),
        extra_run_args: Vec::new(),
        modes: vec!["api_key".into()],
        api_key_hint: backend.api_key_hint.clone().unwrap_or_else(hint),
        post_capture_state: IndexMap::new(),
    }
}

fn key_command(name: &str, label: &str, key: &AuthKey) -> Vec<String> {
    api_key_command(
        key.label.as_deref().unwrap_or(label),
        &key.key_url,
        &key.env_var,
        &key.config_path,
        &key.printf_template,
        key.tool_name.as_deref().unwrap_or(name),
    )
}

/// The command that asks for a key in a container and stores it where the tool looks for it; every value is quoted.
pub fn api_key_command(
    label: &str,
    key_url: &str,
    env_var: &str,
    config_path: &str,
    printf_template: &str,
    tool_name: &str,
) -> Vec<String> {
    let say = |text: String| format!("printf '%s\\n' {}", shell_quote(&text));
    let path = match config_path.strip_prefix("~/") {
        Some(rest) => format!("\"$HOME\"/{}", shell_quote(rest)),
        None => shell_quote(config_path),
    };
    let steps = [
        say(format!("Paste your {label} key; you find it at {key_url}")),
        format!("read -r -p {} api_key", shell_quote(&format!("{env_var}="))),
        format!("path={path}"),
        "mkdir -p \"$(dirname \"$path\")\"".into(),
        format!("printf {} \"$api_key\" > \"$path\"", shell_quote(&format!("{printf_template}\\n"))),
        "echo".into(),
        say(format!("Saved in {config_path}")),
        say(format!("{tool_name} can use it now")),
    ];
    vec!["bash".into(), "-c".into(), steps.join(" && ")]
}

fn vault_route(name: &str, raw: &VaultRouteEntry) -> VaultRoute {
    let refresh = raw.oauth_refresh.as_ref().map(|refresh| {
        let mut fields = IndexMap::from([
            ("token_url".to_owned(), refresh.token_url.clone()),
            ("client_id".to_owned(), refresh.client_id.clone()),
        ]);
        fields.extend(refresh.scope.iter().map(|scope| ("scope".to_owned(), scope.clone())));
        fields
    });
    VaultRoute {
        provider: name.to_owned(),
        route_prefix: raw.route_prefix.clone(),
        upstream: raw.upstream.clone(),
        path_upstreams: raw.path_upstreams.clone(),
        oauth_extra_headers: raw.oauth_extra_headers.clone(),
        auth_header: raw.auth_header.clone(),
        auth_prefix: raw.auth_prefix.clone(),
        credential_type: raw.credential_type.as_str().into(),
        credential_file: raw.credential_file.clone(),
        phantom_env: raw.phantom_env.clone(),
        oauth_phantom_env: raw.oauth_phantom_env.clone(),
        base_url_env: raw.base_url_env.clone(),
        socket_env: raw.socket_env.clone(),
        shared_config_patch: raw.shared_config_patch.clone(),
        oauth_refresh: refresh,
        shared_domain: raw.shared_domain,
        deny: raw.deny.clone(),
    }
}

fn add_mounts(roster: &mut Roster, name: &str, label: &str, raw: &RawAgent) {
    let mut offered = Vec::new();
    if let Some(auth) = roster.auth_providers.get(name) {
        offered.push(MountDef {
            host_dir: auth.host_dir_name.clone(),
            container_path: auth.container_mount.clone(),
            label: format!("{label} config"),
            credential_file: raw.vault.as_ref().map(|v| v.credential_file.clone()).unwrap_or_default(),
            provider: name.to_owned(),
            private: raw.auth.as_ref().map(|auth| auth.private.clone()).unwrap_or_default(),
            flows_back: raw.auth.as_ref().map(|auth| auth.flows_back.clone()).unwrap_or_default(),
        });
    }
    offered.extend(raw.mounts.iter().map(|mount| MountDef {
        host_dir: mount.host_dir.clone(),
        container_path: mount.container_path.clone(),
        label: mount.label.clone().unwrap_or_else(|| name.to_owned()),
        credential_file: String::new(),
        provider: String::new(),
        private: mount.private.clone(),
        flows_back: mount.flows_back.clone(),
    }));
    for mount in offered {
        if !roster.mounts.iter().any(|known| known.host_dir == mount.host_dir) {
            roster.mounts.push(mount);
        }
    }
}
