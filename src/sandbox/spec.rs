//! What a launch is made of, as callers describe it.
//!
//! These are plain values; whether they may be launched is judged in `check` and `extra`.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// How the labels of a mounted directory are to be set on SELinux hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// Several containers may use it.
    #[default]
    Shared,
    /// Only this container uses it.
    Private,
}

/// A host file or directory inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// Where it is on the host.
    pub host_path: PathBuf,
    /// Where it appears inside.
    pub container_path: String,
    /// Label rule.
    #[serde(default)]
    pub sharing: Sharing,
    /// True when the container must not write it.
    #[serde(default)]
    pub read_only: bool,
    /// True when it is mounted even into a sealed container (sockets and what must stay in step with the host).
    #[serde(default)]
    pub live: bool,
}

impl VolumeSpec {
    /// The value of `-v`; `reowned` lets podman give a writable directory to the container's user.
    pub fn mount_arg(&self, reowned: bool) -> String {
        let label = match self.sharing {
            Sharing::Shared => "z",
            Sharing::Private => "Z",
        };
        let mode = match (self.read_only, reowned) {
            (true, _) => ",ro",
            (false, true) => ",U",
            (false, false) => "",
        };
        format!("{}:{}:{label}{mode}", self.host_path.display(), self.container_path)
    }
}

fn yes() -> bool {
    true
}

/// One container to launch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// Name of the container.
    pub container_name: String,
    /// Image reference.
    pub image: String,
    /// Environment, in order.
    #[serde(default)]
    pub env: IndexMap<String, String>,
    /// Files and directories, in order.
    #[serde(default)]
    pub volumes: Vec<VolumeSpec>,
    /// Program and arguments.
    #[serde(default)]
    pub command: Vec<String>,
    /// Host directory of the task.
    #[serde(default)]
    pub task_dir: PathBuf,
    /// Hand in all GPUs.
    #[serde(default)]
    pub gpu_enabled: bool,
    /// Memory limit with its unit.
    #[serde(default)]
    pub memory: Option<String>,
    /// Number of CPUs.
    #[serde(default)]
    pub cpus: Option<String>,
    /// Further podman options.
    #[serde(default)]
    pub extra_args: Vec<String>,
    /// False adds `no-new-privileges`.
    #[serde(default = "yes")]
    pub unrestricted: bool,
    /// Copy instead of mount.
    #[serde(default)]
    pub sealed: bool,
    /// Host name inside.
    #[serde(default)]
    pub hostname: Option<String>,
    /// OCI runtime.
    #[serde(default)]
    pub runtime: Option<String>,
    /// Annotations, in order.
    #[serde(default)]
    pub annotations: IndexMap<String, String>,
    /// Host loopback ports that the container may reach.
    #[serde(default)]
    pub loopback_ports: Vec<u16>,
    /// Host paths that may be mounted although `hostdir` refuses them.
    #[serde(default)]
    pub allow_dangerous_mounts: Vec<PathBuf>,
}

impl RunSpec {
    /// The sidecar that the annotations name; its presence means that the container must be supervised.
    pub fn sidecar(&self) -> Option<&Path> {
        self.annotations.get(wire::sidecar::ANNOTATION).map(Path::new)
    }

    /// The volumes that become mounts: all of them, or only the live ones of a sealed container.
    pub fn mounts(&self) -> impl Iterator<Item = &VolumeSpec> {
        self.volumes.iter().filter(|v| v.live || !self.sealed)
    }
}

/// Where one installation keeps what a launch makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// State directory of the sandbox.
    pub state_dir: PathBuf,
    /// Runtime directory of the sandbox.
    pub runtime_dir: PathBuf,
    /// True when services listen on TCP ports instead of sockets.
    #[serde(default)]
    pub tcp: bool,
    /// True when root of the host may launch.
    #[serde(default)]
    pub allow_root: bool,
}

impl Place {
    /// The directory that is mounted at `/run/terok`. The name must have been checked.
    pub fn container_runtime_dir(&self, container: &str) -> PathBuf {
        self.runtime_dir.join("run").join(container)
    }

    /// The sidecar file. The name must have been checked.
    pub fn sidecar(&self, container: &str) -> PathBuf {
        self.state_dir.join(wire::sidecar::DIRECTORY).join(format!("{container}.json"))
    }

    /// The directory for what is known about a running container. The name must have been checked.
    pub fn run_state(&self, container: &str) -> PathBuf {
        self.state_dir.join("sandbox").join("runs").join(container)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_arguments() {
        let volume = |sharing, read_only| VolumeSpec {
            host_path: "/h".into(),
            container_path: "/c".into(),
            sharing,
            read_only,
            live: false,
        };
        assert_eq!(volume(Sharing::Private, true).mount_arg(true), "/h:/c:Z,ro");
        assert_eq!(volume(Sharing::Private, false).mount_arg(true), "/h:/c:Z,U");
        assert_eq!(volume(Sharing::Shared, false).mount_arg(false), "/h:/c:z");
    }

    #[test]
    fn order_of_the_caller_is_kept() {
        let spec: RunSpec = serde_json::from_str(
            r#"{"container_name":"c","image":"i","env":{"Z":"1","A":"2"},"annotations":{"krun.cpus":"2"}}"#,
        )
        .unwrap();
        assert_eq!(spec.env.keys().collect::<Vec<_>>(), ["Z", "A"]);
        assert!(spec.unrestricted && !spec.sealed && spec.sidecar().is_none());
    }
}
