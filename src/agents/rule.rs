//! Value rules of roster entries: what may become a path, a variable, a command word or an upstream.
//!
//! Refuses everything that could leave its directory, split a shell word, or send a credential over clear text to
//! another machine.

use crate::schema::RawAgent;

/// A broken rule: dotted key and reason.
pub type Broken = (String, String);

/// Checks one entry.
///
/// # Errors
/// The first broken rule.
pub fn check(name: &str, agent: &RawAgent) -> Result<(), Broken> {
    word("name", name)?;
    if let Some(binary) = &agent.binary {
        word("binary", binary)?;
    }
    check_command(agent)?;
    check_identity(agent)?;
    check_session(agent)?;
    check_opencode(agent)?;
    check_auth(agent)?;
    check_vault(agent)?;
    check_mounts(agent)
}

fn broken<T>(key: &str, why: impl Into<String>) -> Result<T, Broken> {
    Err((key.to_owned(), why.into()))
}

/// One word that needs no quoting and cannot be taken for an option.
fn word(key: &str, text: &str) -> Result<(), Broken> {
    let fits = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b));
    if text.is_empty() || text.starts_with(['-', '.']) || !fits {
        return broken(key, format!("`{text}` is not a plain word of letters, digits and `._+-`"));
    }
    Ok(())
}

fn clean(key: &str, text: &str) -> Result<(), Broken> {
    match text.chars().any(char::is_control) {
        true => broken(key, "control characters are not allowed"),
        false => Ok(()),
    }
}

/// A shell and environment variable name.
pub fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn variable(key: &str, name: &str) -> Result<(), Broken> {
    match is_variable(name) {
        true => Ok(()),
        false => broken(key, format!("`{name}` is not a variable name")),
    }
}

fn segment(key: &str, name: &str) -> Result<(), Broken> {
    base::ident::check_segment("name", name).map_err(|bad| (key.to_owned(), format!("`{name}`: {}", bad.why)))?;
    clean(key, name)
}

/// True for a relative path that stays below where it is joined.
pub fn stays_below(path: &str) -> bool {
    !path.is_empty() && !path.contains(['\0', '\\']) && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn relative(key: &str, path: &str) -> Result<(), Broken> {
    match stays_below(path) {
        true => clean(key, path),
        false => broken(key, format!("`{path}` must be a relative path without `..`")),
    }
}

fn container_path(key: &str, path: &str) -> Result<(), Broken> {
    let rest = path.strip_prefix('/').unwrap_or("");
    match stays_below(rest) && !path.contains([':', ',']) {
        true => clean(key, path),
        false => broken(key, format!("`{path}` must be an absolute path without `:`, `,` and `..`")),
    }
}

fn upstream(key: &str, url: &str) -> Result<(), Broken> {
    let host = |rest: &str| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or("").to_owned();
        match authority.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or("").to_owned(),
            None => authority.split(':').next().unwrap_or("").to_owned(),
        }
    };
    if url.contains(|c: char| c.is_whitespace() || c.is_control()) || base::text::has_userinfo(url) {
        return broken(key, format!("`{}` is not a plain URL", base::text::redact_userinfo(url)));
    }
    if let Some(rest) = url.strip_prefix("https://").filter(|r| !host(r).is_empty()) {
        let _ = rest;
        return Ok(());
    }
    match url.strip_prefix("http://").map(host).as_deref() {
        Some("localhost" | "127.0.0.1" | "::1") => Ok(()),
        _ => broken(key, format!("`{url}` must be an https URL (http only on the loopback)")),
    }
}

fn check_command(agent: &RawAgent) -> Result<(), Broken> {
    if let Some(headless) = &agent.headless {
        if let Some(subcommand) = &headless.subcommand {
            word("headless.subcommand", subcommand)?;
        }
        let flags = [&headless.model_flag, &headless.max_turns_flag, &headless.verbose_flag];
        for flag in flags.into_iter().flatten().chain([&headless.prompt_flag]).chain(&headless.output_format_flags) {
            clean("headless", flag)?;
        }
    }
    if let Some(approve) = &agent.auto_approve {
        for (name, value) in &approve.env {
            variable("auto_approve.env", name)?;
            clean("auto_approve.env", value)?;
        }
        for flag in &approve.flags {
            clean("auto_approve.flags", flag)?;
        }
    }
    for refused in agent.wrapper.iter().flat_map(|w| &w.refuse_subcommands) {
        word("wrapper.refuse_subcommands", refused)?;
    }
    Ok(())
}

fn check_identity(agent: &RawAgent) -> Result<(), Broken> {
    clean("label", agent.label.as_deref().unwrap_or(""))?;
    let Some(identity) = &agent.git_identity else { return Ok(()) };
    for (key, value) in [("git_identity.name", &identity.name), ("git_identity.email", &identity.email)] {
        clean(key, value.as_deref().unwrap_or(""))?;
    }
    Ok(())
}

fn check_session(agent: &RawAgent) -> Result<(), Broken> {
    let Some(session) = &agent.session else { return Ok(()) };
    if let Some(file) = &session.session_file {
        segment("session.session_file", file)?;
    }
    clean("session.resume_flag", session.resume_flag.as_deref().unwrap_or(""))
}

fn check_opencode(agent: &RawAgent) -> Result<(), Broken> {
    let Some(opencode) = &agent.opencode else { return Ok(()) };
    upstream("opencode.base_url", &opencode.base_url)?;
    variable("opencode.env_var_prefix", &opencode.env_var_prefix)?;
    relative("opencode.config_dir", &opencode.config_dir)?;
    for text in [&opencode.display_name, &opencode.preferred_model, &opencode.fallback_model] {
        clean("opencode", text)?;
    }
    Ok(())
}

fn check_auth(agent: &RawAgent) -> Result<(), Broken> {
    let Some(auth) = &agent.auth else { return Ok(()) };
    segment("auth.host_dir", &auth.host_dir)?;
    container_path("auth.container_mount", &auth.container_mount)?;
    for file in auth.post_capture_state.keys() {
        relative("auth.post_capture_state", file)?;
    }
    copied("auth.private", &auth.private, "auth.flows_back", &auth.flows_back)?;
    match &auth.auth_key {
        Some(key) => variable("auth.auth_key.env_var", &key.env_var),
        None => Ok(()),
    }
}

/// Paths below a shared folder: what is never copied, and what flows back.
fn copied(private: &str, paths: &[String], flows_back: &str, rules: &home::Rules) -> Result<(), Broken> {
    paths.iter().try_for_each(|path| relative(private, path))?;
    rules.keys().try_for_each(|file| relative(flows_back, file))
}

fn check_vault(agent: &RawAgent) -> Result<(), Broken> {
    for (name, credential) in agent.sidecar.iter().flat_map(|s| &s.env_map) {
        variable("sidecar.env_map", name)?;
        clean("sidecar.env_map", credential)?;
    }
    let Some(vault) = &agent.vault else { return Ok(()) };
    word("vault.route_prefix", &vault.route_prefix)?;
    upstream("vault.upstream", &vault.upstream)?;
    for (path, url) in &vault.path_upstreams {
        if !path.starts_with('/') {
            return broken("vault.path_upstreams", format!("`{path}` must begin with `/`"));
        }
        upstream("vault.path_upstreams", url)?;
    }
    for text in &vault.deny {
        wire::denial::Denial::parse(text).map_err(|why| ("vault.deny".to_owned(), why))?;
    }
    if let Some(refresh) = &vault.oauth_refresh {
        upstream("vault.oauth_refresh.token_url", &refresh.token_url)?;
    }
    for name in vault.phantom_env.keys().chain(vault.oauth_phantom_env.keys()) {
        variable("vault.phantom_env", name)?;
    }
    for (key, name) in [("vault.base_url_env", &vault.base_url_env), ("vault.socket_env", &vault.socket_env)] {
        if !name.is_empty() {
            variable(key, name)?;
        }
    }
    match vault.credential_file.is_empty() {
        true => Ok(()),
        false => relative("vault.credential_file", &vault.credential_file),
    }
}

fn check_mounts(agent: &RawAgent) -> Result<(), Broken> {
    for mount in &agent.mounts {
        segment("mounts.host_dir", &mount.host_dir)?;
        container_path("mounts.container_path", &mount.container_path)?;
        copied("mounts.private", &mount.private, "mounts.flows_back", &mount.flows_back)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn verdict(value: Value) -> Result<(), Broken> {
        check("x", &serde_json::from_value(value).unwrap())
    }

    #[test]
    fn unsafe_values_are_refused_with_their_key() {
        let auth = |dir: &str, mount: &str| json!({"auth": {"host_dir": dir, "container_mount": mount}});
        let vault = |key: &str, value: Value| {
            let mut entry = json!({"route_prefix": "x", "upstream": "https://h"});
            entry[key] = value;
            json!({"vault": entry})
        };
        for (key, value) in [
            ("binary", json!({"binary": "a;id"})),
            ("binary", json!({"binary": "-x"})),
            ("headless.subcommand", json!({"headless": {"subcommand": "a b"}})),
            ("auto_approve.env", json!({"auto_approve": {"env": {"A-B": "1"}}})),
            ("session.session_file", json!({"session": {"session_file": "../x"}})),
            ("auth.host_dir", auth("a/b", "/m")),
            ("auth.host_dir", auth("..", "/m")),
            ("auth.container_mount", auth("a", "m")),
            ("auth.container_mount", auth("a", "/m:ro")),
            ("vault.upstream", vault("upstream", json!("http://example.org"))),
            ("vault.upstream", vault("upstream", json!("https://u:p@h"))),
            ("vault.upstream", vault("upstream", json!("https:///x"))),
            ("vault.credential_file", vault("credential_file", json!("../../x"))),
            ("vault.phantom_env", vault("phantom_env", json!({"A B": true}))),
            ("mounts.host_dir", json!({"mounts": [{"host_dir": "../../x", "container_path": "/x"}]})),
            ("mounts.container_path", json!({"mounts": [{"host_dir": "x", "container_path": "/x/../y"}]})),
            (
                "mounts.flows_back",
                json!({"mounts": [
                    {"host_dir": "x", "container_path": "/x", "flows_back": {"../x": {"a": "flag"}}}
                ]}),
            ),
            ("git_identity.name", json!({"git_identity": {"name": "a\nb"}})),
        ] {
            assert_eq!(verdict(value.clone()).unwrap_err().0, key, "{value}");
        }
        assert!(check("../x", &RawAgent::default()).is_err());
    }

    #[test]
    fn a_loopback_upstream_may_be_clear_text() {
        for url in ["https://h/x", "http://127.0.0.1:8080", "http://[::1]:1", "http://localhost:9/x"] {
            let entry = json!({"vault": {"route_prefix": "x", "upstream": url}});
            assert_eq!(verdict(entry), Ok(()), "{url}");
        }
    }
}
