//! The sidecar: one JSON file per container that tells its supervisor what to serve and where.
//!
//! The launcher writes it 0600 before podman starts; the OCI hook and the supervisor read it. Unknown keys are ignored,
//! so that newer launchers may add some; anything else that is off makes the sidecar unusable as a whole.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base::fault::{Fault, Kind};
use base::ident::check_segment;
use serde_json::{Map, Value};

/// Annotation whose value is the absolute path of the sidecar; its presence starts the supervisor.
pub const ANNOTATION: &str = "terok.sandbox.sidecar";
/// Name of the directory that holds sidecars, below the state root.
pub const DIRECTORY: &str = "sidecar";
/// Largest sidecar we read, in bytes.
pub const SIZE_LIMIT: u64 = 64 * 1024;

/// How the container reaches its services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IpcMode {
    /// Unix sockets in the runtime directory, mounted at `/run/terok`.
    #[default]
    Socket,
    /// TCP ports on the host's loopback.
    Tcp,
}

impl IpcMode {
    /// The word used in files and configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Tcp => "tcp",
        }
    }
}

/// A validated sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sidecar {
    /// Container name; one plain path component.
    pub container_name: String,
    /// Transport of all services.
    pub ipc_mode: IpcMode,
    /// Absolute path of the vault database.
    pub db_path: PathBuf,
    /// Absolute runtime directory of the launcher.
    pub runtime_dir: PathBuf,
    /// Credential scope of a standalone launch.
    pub scope_id: String,
    /// Project that the container belongs to; empty when standalone.
    pub project_id: String,
    /// Task that the container belongs to; empty when standalone.
    pub task_id: String,
    /// Port of the credential broker (TCP mode).
    pub tcp_port: Option<u16>,
    /// Port of the SSH signer (TCP mode).
    pub ssh_signer_port: Option<u16>,
    /// Port of the git gate (TCP mode with a gate).
    pub gate_port: Option<u16>,
    /// Directory of the bare mirrors, when the container has a gate.
    pub gate_base_path: Option<PathBuf>,
    /// Secret that the container presents to the gate.
    pub gate_token: Option<String>,
    /// Repository (without `.git`) that the gate serves; older launchers leave it out and mean the project.
    pub gate_scope: String,
    /// Scope of this container's phantom tokens, where neither project nor standalone scope says it.
    pub token_scope: String,
    /// Subject of this container's phantom tokens, likewise.
    pub token_subject: String,
    /// Credential set that shared logins are read from; empty means `default`.
    pub credential_set: String,
    /// Providers whose shared login this container has; `None` (older launchers) allows all.
    pub shared_logins: Option<Vec<String>>,
    /// File with the task's metadata, shown in notifications.
    pub dossier_path: Option<PathBuf>,
    /// State directory of the container's firewall; without it the container has none.
    pub shield_state_dir: Option<PathBuf>,
    /// Directory of the container's copies of the agent folders, from which settings flow back at its end.
    pub home_dir: Option<PathBuf>,
    /// The launcher's own settings for [`AMBIENT`]; podman hands none of them on to a hook.
    pub environment: BTreeMap<String, String>,
}

/// Variables that decide where configuration and trust anchors are found; the launcher pins them in the sidecar.
pub const AMBIENT: [&str; 13] = [
    "TEROK_ROOT",
    "TEROK_CONFIG_FILE",
    "TEROK_CONFIG_DIR",
    "TEROK_VAULT_DIR",
    "TEROK_CREDENTIALS_DIR",
    "TEROK_SANDBOX_CONFIG_DIR",
    "TEROK_SANDBOX_STATE_DIR",
    "TEROK_SANDBOX_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// The part of an environment that belongs into a sidecar: non-empty values of [`AMBIENT`].
pub fn ambient(vars: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    vars.into_iter().filter(|(name, value)| AMBIENT.contains(&name.as_str()) && !value.is_empty()).collect()
}

/// Why a sidecar cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    /// The text is not JSON.
    #[error("the sidecar is not valid JSON")]
    Syntax(#[source] serde_json::Error),
    /// The top level is not an object.
    #[error("the sidecar is not a JSON object")]
    Shape,
    /// One member is missing or wrong.
    #[error("the sidecar's `{key}` {why}")]
    Member {
        /// The member.
        key: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Fault for SidecarError {
    fn code(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "sidecar-syntax",
            Self::Shape => "sidecar-shape",
            Self::Member { .. } => "sidecar-member",
        }
    }
    fn hint(&self) -> Option<String> {
        Some("launch the container again; its sidecar is then written anew".into())
    }
    fn exit_code(&self) -> u8 {
        2
    }
    fn kind(&self) -> Kind {
        Kind::Value
    }
}

impl Sidecar {
    /// Parses and validates a sidecar text.
    ///
    /// # Errors
    /// [`SidecarError`] naming the first member that is off.
    pub fn parse(text: &[u8]) -> Result<Self, SidecarError> {
        let value: Value = serde_json::from_slice(text).map_err(SidecarError::Syntax)?;
        let object = value.as_object().ok_or(SidecarError::Shape)?;
        let container_name = required(object, "container_name")?.trim().to_owned();
        check_segment("container name", &container_name)
            .map_err(|_| SidecarError::Member { key: "container_name", why: "is not a plain name" })?;
        let ipc_mode = match string(object, "ipc_mode")?.as_deref() {
            None | Some("socket") => IpcMode::Socket,
            Some("tcp") => IpcMode::Tcp,
            Some(_) => {
                return Err(SidecarError::Member { key: "ipc_mode", why: "is neither `socket` nor `tcp`" });
            }
        };
        Ok(Self {
            container_name,
            ipc_mode,
            db_path: absolute(object, "db_path")?.ok_or(MISSING_DB)?,
            runtime_dir: absolute(object, "runtime_dir")?.ok_or(MISSING_RUNTIME)?,
            scope_id: string(object, "scope_id")?.unwrap_or_default(),
            project_id: string(object, "project_id")?.unwrap_or_default(),
            task_id: string(object, "task_id")?.unwrap_or_default(),
            tcp_port: port(object, "tcp_port")?,
            ssh_signer_port: port(object, "ssh_signer_port")?,
            gate_port: port(object, "gate_port")?,
            gate_base_path: absolute(object, "gate_base_path")?,
            gate_token: string(object, "gate_token")?.filter(|t| !t.is_empty()),
            gate_scope: string(object, "gate_scope")?.unwrap_or_default(),
            token_scope: string(object, "token_scope")?.unwrap_or_default(),
            token_subject: string(object, "token_subject")?.unwrap_or_default(),
            credential_set: string(object, "credential_set")?.unwrap_or_default(),
            shared_logins: texts(object, "shared_logins")?,
            dossier_path: absolute(object, "dossier_path")?,
            shield_state_dir: absolute(object, "shield_state_dir")?,
            home_dir: absolute(object, "home_dir")?,
            environment: environment(object)?,
        })
    }

    /// The file text: indented JSON with the keys in the order that readers of older versions expect.
    pub fn to_json(&self) -> String {
        let mut out = Map::new();
        let path = |p: &PathBuf| Value::from(p.to_string_lossy().into_owned());
        out.insert("container_name".into(), self.container_name.clone().into());
        out.insert("ipc_mode".into(), self.ipc_mode.as_str().into());
        out.insert("db_path".into(), path(&self.db_path));
        out.insert("scope_id".into(), self.scope_id.clone().into());
        out.insert("project_id".into(), self.project_id.clone().into());
        out.insert("task_id".into(), self.task_id.clone().into());
        out.insert("runtime_dir".into(), path(&self.runtime_dir));
        if self.ipc_mode == IpcMode::Tcp {
            out.insert("tcp_port".into(), self.tcp_port.into());
            out.insert("ssh_signer_port".into(), self.ssh_signer_port.into());
        }
        if let Some(dossier) = &self.dossier_path {
            out.insert("dossier_path".into(), path(dossier));
        }
        if let Some(shield) = &self.shield_state_dir {
            out.insert("shield_state_dir".into(), path(shield));
        }
        if let (Some(gate), Some(token)) = (&self.gate_base_path, &self.gate_token) {
            out.insert("gate_base_path".into(), path(gate));
            out.insert("gate_token".into(), token.clone().into());
            if self.ipc_mode == IpcMode::Tcp {
                out.insert("gate_port".into(), self.gate_port.into());
            }
        }
        let additions = [
            ("gate_scope", &self.gate_scope),
            ("token_scope", &self.token_scope),
            ("token_subject", &self.token_subject),
            ("credential_set", &self.credential_set),
        ];
        for (key, text) in additions.into_iter().filter(|(_, text)| !text.is_empty()) {
            out.insert(key.into(), text.clone().into());
        }
        if let Some(logins) = &self.shared_logins {
            out.insert("shared_logins".into(), logins.clone().into());
        }
        if let Some(home) = &self.home_dir {
            out.insert("home_dir".into(), path(home));
        }
        if !self.environment.is_empty() {
            let pinned = self.environment.iter();
            let pinned = pinned.map(|(name, value)| (name.clone(), Value::from(value.clone())));
            out.insert("environment".into(), Value::Object(pinned.collect()));
        }
        serde_json::to_string_pretty(&Value::Object(out)).expect("plain values serialise") + "\n"
    }

    /// Scope and subject of this container's phantom tokens: what the launcher says; else project and task; else, for a
    /// standalone launch with a scope, that scope and the container's name. `None` when the sidecar names no owner, or
    /// only half of one: such a container has no tokens.
    pub fn token_owner(&self) -> Option<(&str, &str)> {
        let named = [
            (&self.token_scope, &self.token_subject),
            (&self.project_id, &self.task_id),
            (&self.scope_id, &self.container_name),
        ];
        let named = named.map(|(scope, subject)| (scope.as_str(), subject.as_str()));
        let (scope, subject) = match named {
            [token, ..] if token != ("", "") => token,
            [_, task, _] if task != ("", "") => task,
            [.., standalone] => standalone,
        };
        (!scope.is_empty() && !subject.is_empty()).then_some((scope, subject))
    }

    /// The directory that is mounted at `/run/terok`.
    pub fn container_runtime_dir(&self) -> PathBuf {
        self.runtime_dir.join("run").join(&self.container_name)
    }
}

const MISSING_DB: SidecarError = SidecarError::Member { key: "db_path", why: "is missing" };
const MISSING_RUNTIME: SidecarError = SidecarError::Member { key: "runtime_dir", why: "is missing" };

fn string(object: &Map<String, Value>, key: &'static str) -> Result<Option<String>, SidecarError> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.contains('\0') => Ok(Some(text.clone())),
        Some(_) => Err(SidecarError::Member { key, why: "is not a text" }),
    }
}

fn texts(object: &Map<String, Value>, key: &'static str) -> Result<Option<Vec<String>>, SidecarError> {
    const WHY: &str = "is not a list of texts";
    let items = match object.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(SidecarError::Member { key, why: WHY }),
    };
    let texts = items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
    texts.map(Some).ok_or(SidecarError::Member { key, why: WHY })
}

/// Names outside [`AMBIENT`] are dropped, so that a sidecar cannot set a loader variable.
fn environment(object: &Map<String, Value>) -> Result<BTreeMap<String, String>, SidecarError> {
    const REFUSED: SidecarError = SidecarError::Member { key: "environment", why: "is not an object of texts" };
    let members = match object.get("environment") {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(REFUSED),
    };
    let mut pairs = Vec::new();
    for (name, value) in members {
        match value {
            Value::String(text) if !text.contains('\0') => pairs.push((name.clone(), text.clone())),
            _ => return Err(REFUSED),
        }
    }
    Ok(ambient(pairs))
}

fn required(object: &Map<String, Value>, key: &'static str) -> Result<String, SidecarError> {
    string(object, key)?.ok_or(SidecarError::Member { key, why: "is missing" })
}

fn absolute(object: &Map<String, Value>, key: &'static str) -> Result<Option<PathBuf>, SidecarError> {
    let Some(text) = string(object, key)?.filter(|t| !t.is_empty()) else {
        return Ok(None);
    };
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err(SidecarError::Member { key, why: "is not an absolute path" });
    }
    Ok(Some(path))
}

fn port(object: &Map<String, Value>, key: &'static str) -> Result<Option<u16>, SidecarError> {
    let number = match object.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(n)) => n.as_u64(),
        Some(Value::String(s)) => s.trim().parse().ok(),
        Some(_) => None,
    };
    match number.and_then(|n| u16::try_from(n).ok()) {
        Some(port) if port > 0 => Ok(Some(port)),
        _ => Err(SidecarError::Member { key, why: "is not a port number" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn minimal() -> Value {
        json!({"container_name": "c1", "db_path": "/v/credentials.db", "runtime_dir": "/r"})
    }

    fn with(key: &str, value: Value) -> Vec<u8> {
        let mut sidecar = minimal();
        sidecar[key] = value;
        sidecar.to_string().into_bytes()
    }

    #[test]
    fn minimal_and_extra_keys_are_fine() {
        let sidecar = Sidecar::parse(&with("future", json!([1]))).unwrap();
        assert_eq!((sidecar.container_name.as_str(), sidecar.ipc_mode), ("c1", IpcMode::Socket));
        assert_eq!(sidecar.container_runtime_dir(), PathBuf::from("/r/run/c1"));
        assert_eq!(Sidecar::parse(&with("tcp_port", json!("8080"))).unwrap().tcp_port, Some(8080));
    }

    #[test]
    fn anything_off_is_refused() {
        for (key, value) in [
            ("container_name", json!("a/b")),
            ("container_name", json!("..")),
            ("container_name", json!("  ")),
            ("container_name", Value::Null),
            ("db_path", json!("relative")),
            ("db_path", json!(7)),
            ("runtime_dir", json!("")),
            ("ipc_mode", json!("x")),
            ("tcp_port", json!("abc")),
            ("tcp_port", json!(0)),
            ("tcp_port", json!(70000)),
            ("dossier_path", json!("d")),
            ("shield_state_dir", json!("shield")),
            ("shared_logins", json!("claude")),
            ("shared_logins", json!([1])),
            ("token_scope", json!(7)),
            ("environment", json!([])),
            ("environment", json!({"TEROK_ROOT": 1})),
        ] {
            assert!(Sidecar::parse(&with(key, value.clone())).is_err(), "{key} = {value}");
        }
        assert!(matches!(Sidecar::parse(b"[]"), Err(SidecarError::Shape)));
        assert!(matches!(Sidecar::parse(b"{"), Err(SidecarError::Syntax(_))));
    }

    // holds: no-owner-no-access
    #[test]
    fn token_owner_is_named_whole_or_absent() {
        let owner = |scope_id: &str, task: (&str, &str), token: (&str, &str)| {
            let sidecar = Sidecar {
                container_name: "c".into(),
                scope_id: scope_id.into(),
                project_id: task.0.into(),
                task_id: task.1.into(),
                token_scope: token.0.into(),
                token_subject: token.1.into(),
                ..Sidecar::default()
            };
            sidecar.token_owner().map(|(scope, subject)| format!("{scope}/{subject}"))
        };
        assert_eq!(owner("s", ("p", "t"), ("standalone", "run1")).unwrap(), "standalone/run1");
        assert_eq!(owner("s", ("p", "t"), ("", "")).unwrap(), "p/t");
        assert_eq!(owner("s", ("", ""), ("", "")).unwrap(), "s/c");
        for (scope_id, task, token) in [
            ("", ("", ""), ("", "")),
            ("", ("p", ""), ("", "")),
            ("s", ("", "t"), ("", "")),
            ("s", ("p", "t"), ("p", "")),
            ("s", ("p", "t"), ("", "t")),
        ] {
            assert_eq!(owner(scope_id, task, token), None, "{scope_id} {task:?} {token:?}");
        }
    }

    #[test]
    fn round_trip_in_both_modes() {
        let mut sidecar = Sidecar {
            container_name: "c".into(),
            db_path: "/v/db".into(),
            runtime_dir: "/r".into(),
            gate_base_path: Some("/g".into()),
            gate_token: Some("terok-g-1".into()),
            gate_scope: "proj".into(),
            token_scope: "standalone".into(),
            token_subject: "run1".into(),
            credential_set: "work".into(),
            shared_logins: Some(vec!["claude".into()]),
            shield_state_dir: Some("/s/shield".into()),
            ..Sidecar::default()
        };
        assert_eq!(Sidecar::parse(sidecar.to_json().as_bytes()).unwrap(), sidecar);
        let named = [("TEROK_ROOT", "/t"), ("LD_PRELOAD", "/x"), ("XDG_DATA_HOME", "")];
        sidecar.environment = ambient(named.map(|(n, v)| (n.into(), v.into())));
        assert_eq!(sidecar.environment.len(), 1);
        sidecar.ipc_mode = IpcMode::Tcp;
        (sidecar.tcp_port, sidecar.ssh_signer_port, sidecar.gate_port) = (Some(1), Some(2), Some(3));
        assert_eq!(Sidecar::parse(sidecar.to_json().as_bytes()).unwrap(), sidecar);
        assert!(sidecar.to_json().ends_with("}\n") && sidecar.to_json().contains("\n  \"tcp_port\": 1"));
    }
}
