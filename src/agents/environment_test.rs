//! Variables and volumes of a container, table by table.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::environment::{Grant, Grants, Services, Spec, variables};
use crate::fault::AgentError;
use crate::model::Roster;
use crate::roster::{Strictness, bundled, load};
use crate::volume;

fn roster() -> Roster {
    load(&bundled(), &[], Strictness::Strict, &mut Vec::new()).unwrap()
}

fn spec(envs: &std::path::Path, fields: Value) -> Spec {
    let mut all = json!({
        "task_id": "t1", "provider_name": "claude", "workspace_host_path": "/w", "authorship": "agent",
        "human_name": "Nobody", "human_email": "nobody@localhost", "unrestricted": true, "shared_mount": "/shared",
        "envs_dir": envs,
    });
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

fn env(fields: Value, grants: &Grants, services: &Services) -> Value {
    let spec = spec("/m".as_ref(), fields);
    serde_json::to_value(variables(&spec, &roster(), grants, services).unwrap()).unwrap()
}

#[test]
fn variables_without_a_vault() {
    let env = env(
        json!({"timezone": "Europe/Prague", "branch": "", "code_repo": "https://h/r"}),
        &Grants::default(),
        &Services::default(),
    );
    let base = json!({
        "TASK_ID": "t1", "REPO_ROOT": "/workspace", "GIT_RESET_MODE": "none", "TEROK_CONTAINER_PROTOCOL": "1",
        "CLAUDE_CONFIG_DIR": "/home/dev/.claude", "TZ": "Europe/Prague", "GIT_AUTHOR_NAME": "Claude",
        "GIT_AUTHOR_EMAIL": "noreply@anthropic.com", "GIT_COMMITTER_NAME": "Claude",
        "GIT_COMMITTER_EMAIL": "noreply@anthropic.com", "TEROK_GIT_AUTHORSHIP": "agent", "HUMAN_GIT_NAME": "Nobody",
        "HUMAN_GIT_EMAIL": "nobody@localhost", "CODE_REPO": "https://h/r", "TEROK_UNRESTRICTED": "1",
        "OPENCODE_PERMISSION": "{\"*\":\"allow\"}", "COPILOT_ALLOW_ALL": "true", "VIBE_BYPASS_TOOL_PERMISSIONS": "true",
    });
    let (oc, rest): (Vec<_>, Vec<_>) = env.as_object().unwrap().iter().partition(|(k, _)| k.starts_with("TEROK_OC_"));
    assert_eq!(oc.len(), 18);
    assert_eq!(Value::Object(rest.into_iter().map(|(k, v)| (k.clone(), v.clone())).collect()), base);
}

#[test]
fn a_restricted_run_gets_no_permission() {
    let env = env(
        json!({"unrestricted": false, "provider_name": "nobody", "git_committer_name": "C"}),
        &Grants::default(),
        &Services::default(),
    );
    for key in ["TEROK_UNRESTRICTED", "OPENCODE_PERMISSION", "COPILOT_ALLOW_ALL", "VIBE_BYPASS_TOOL_PERMISSIONS"] {
        assert!(env.get(key).is_none(), "{key}");
    }
    assert_eq!((&env["GIT_AUTHOR_EMAIL"], &env["GIT_COMMITTER_NAME"]), (&json!("ai@localhost"), &json!("C")));
}

fn grants() -> Grants {
    let of = |(provider, credential_type): (&str, &str)| Grant {
        provider: provider.into(),
        credential_type: credential_type.into(),
        token: format!("T-{provider}"),
    };
    let kinds = [
        ("claude", "oauth"),
        ("codex", "oauth"),
        ("gh", "oauth_token"),
        ("glab", "pat"),
        ("vibe", "api_key"),
        ("blablador", "api_key"),
        ("openrouter", "api_key"),
        ("sonar", "api_key"),
    ];
    Grants { providers: kinds.map(of).into(), ssh_token: Some("T-ssh".into()) }
}

#[test]
fn tokens_and_addresses() {
    let socket = env(json!({}), &grants(), &Services::default());
    let url = "http://localhost:9419";
    for (key, value) in [
        ("CLAUDE_CODE_OAUTH_TOKEN", "T-claude"),
        ("ANTHROPIC_BASE_URL", url),
        ("ANTHROPIC_UNIX_SOCKET", "/run/terok/vault.sock"),
        ("OPENAI_API_KEY", "T-codex"),
        ("GH_TOKEN", "T-gh"),
        ("GITLAB_TOKEN", "T-glab"),
        ("API_PROTOCOL", "http"),
        ("GITLAB_API_HOST", "localhost:9419"),
        ("MISTRAL_API_KEY", "T-vibe"),
        ("BLABLADOR_API_KEY", "T-blablador"),
        ("SONAR_TOKEN", "T-sonar"),
        ("SONAR_HOST_URL", url),
        ("TEROK_OC_BLABLADOR_BASE_URL", "http://localhost:9419/v1"),
        ("TEROK_OC_OPENROUTER_BASE_URL", "http://localhost:9419/api/v1"),
        ("TEROK_OC_KISSKI_BASE_URL", "https://chat-ai.academiccloud.de/v1"),
        ("TEROK_VAULT_LOOPBACK_PORT", "9419"),
        ("TEROK_SSH_SIGNER_TOKEN", "T-ssh"),
        ("TEROK_SSH_SIGNER_SOCKET", "/run/terok/ssh-agent.sock"),
    ] {
        assert_eq!(socket[key], json!(value), "{key}");
    }
    for key in ["ANTHROPIC_API_KEY", "TEROK_TOKEN_BROKER_PORT", "TEROK_SSH_SIGNER_PORT"] {
        assert!(socket.get(key).is_none(), "{key}");
    }
    let tcp = env(json!({}), &grants(), &Services { tcp: true, broker_port: Some(18731), signer_port: Some(18732) });
    for (key, value) in [
        ("ANTHROPIC_UNIX_SOCKET", "/tmp/terok-vault.sock"),
        ("ANTHROPIC_BASE_URL", url),
        ("GITLAB_API_HOST", "host.containers.internal:18731"),
        ("TEROK_TOKEN_BROKER_PORT", "18731"),
        ("TEROK_SSH_SIGNER_PORT", "18732"),
    ] {
        assert_eq!(tcp[key], json!(value), "{key}");
    }
    assert!(tcp.get("TEROK_SSH_SIGNER_SOCKET").is_none());
}

#[test]
fn an_api_key_of_claude_uses_the_key_variable() {
    let grant = Grant { provider: "claude".into(), credential_type: "api_key".into(), token: "T".into() };
    let env = env(json!({}), &Grants { providers: vec![grant], ssh_token: None }, &Services::default());
    assert_eq!(env["ANTHROPIC_API_KEY"], json!("T"));
    assert!(env.get("CLAUDE_CODE_OAUTH_TOKEN").is_none());
}

#[test]
fn conflicting_permissions_are_an_error() {
    let mut roster = roster();
    roster.providers["pi"].auto_approve_env.insert("COPILOT_ALLOW_ALL".into(), "maybe".into());
    let error =
        variables(&spec("/m".as_ref(), json!({})), &roster, &Grants::default(), &Services::default()).unwrap_err();
    assert!(matches!(error, AgentError::AutoApprove { .. }));
}

#[test]
fn volumes_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let fields = json!({"agent_config_dir": "/c", "shared_dir": dir.path().join("s"), "expose_credential_providers": ["claude"]});
    let volumes = volume::prepare(&spec(&dir.path().join("m"), fields), &roster(), &Services::default()).unwrap();
    let expected: Vec<Value> = serde_json::from_str(include_str!("../../tests/fixtures/agents/mounts.json")).unwrap();
    let mut paths = vec!["/workspace".to_owned()];
    for mount in &expected {
        let path = mount["container_path"].as_str().unwrap().to_owned();
        let file = mount["credential_file"].as_str().unwrap();
        paths.push(path.clone());
        if !file.is_empty() && mount["provider"] != "claude" {
            paths.push(format!("{path}/{file}"));
        }
    }
    paths.extend(["/home/dev/.terok".to_owned(), "/shared".to_owned()]);
    assert_eq!(volumes.iter().map(|v| v.container_path.clone()).collect::<Vec<_>>(), paths);
    for volume in &volumes {
        let file = volume.read_only;
        let private = ["/workspace", "/home/dev/.terok"].contains(&volume.container_path.as_str());
        assert_eq!(volume.sharing, if private { "private" } else { "shared" });
        if file {
            assert_eq!(fs::metadata(&volume.host_path).unwrap().len(), 0, "{volume:?}");
        }
    }
}

#[test]
fn only_what_the_image_holds_is_mounted() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(dir.path(), json!({"installed": ["opencode", "gh"]}));
    let volumes = volume::prepare(&spec, &roster(), &Services::default()).unwrap();
    let paths: Vec<_> = volumes.iter().filter(|v| !v.read_only).map(|v| v.container_path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "/workspace",
            "/home/dev/.claude",
            "/home/dev/.config/gh",
            "/home/dev/.config/opencode",
            "/home/dev/.local/share/opencode",
            "/home/dev/.local/state"
        ]
    );
    assert!(!dir.path().join("_codex-config").exists());
}

#[test]
fn planted_links_stop_the_launch() {
    for planted in ["_gh-config/hosts.yml", "_claude-config"] {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join(planted);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        fs::write(dir.path().join("victim"), "v").unwrap();
        symlink(dir.path().join("victim"), &link).unwrap();
        let error = volume::prepare(&spec(dir.path(), json!({})), &roster(), &Services::default()).unwrap_err();
        assert!(matches!(error, AgentError::SharedMount { .. }), "{error}");
        assert_eq!(fs::read_to_string(dir.path().join("victim")).unwrap(), "v");
    }
}

#[test]
fn shared_directories_are_checked_first() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    fs::write(&file, "").unwrap();
    for (fields, part) in [
        (json!({"shared_dir": "/s", "shared_mount": "rel"}), "absolute path"),
        (json!({"shared_dir": "/s", "shared_mount": "/a:b"}), "':'"),
        (json!({"shared_dir": file}), "exists as a file"),
    ] {
        let error = volume::prepare(&spec(&dir.path().join("m"), fields), &roster(), &Services::default()).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(!dir.path().join("m").exists());
}
