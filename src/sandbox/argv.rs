//! From a description to podman's argument list.
//!
//! Invariants: the description has been judged before a list exists; sensitive values are not in the list but in
//! podman's environment; the user namespace maps the caller to uid 1000 inside whenever podman runs rootless.

use podman::command::{EnvEntry, Rendered, RunCommand, Verb};
use podman::explicit::Explicit;

use crate::check::check;
use crate::extra;
use crate::fault::LaunchError;
use crate::redact::is_sensitive;
use crate::spec::RunSpec;
use crate::usermap::UserMap;

/// Where the container's program starts.
pub const WORKDIR: &str = "/workspace";
/// Variables that podman itself would obey; they are never put into its environment. None of them holds a secret.
const PODMANS_OWN: [&str; 10] = [
    "CONTAINER_CONNECTION",
    "CONTAINER_HOST",
    "CONTAINER_SSHKEY",
    "CONTAINERS_CONF",
    "CONTAINERS_CONF_OVERRIDE",
    "CONTAINERS_REGISTRIES_CONF",
    "CONTAINERS_STORAGE_CONF",
    "REGISTRY_AUTH_FILE",
    "STORAGE_DRIVER",
    "STORAGE_OPTS",
];

/// What the list depends on besides the description.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// How ids are mapped.
    pub users: UserMap,
    /// Network, firewall and capability options.
    pub network: Vec<String>,
    /// The checked identifier of the image; the name is written where it is missing.
    pub image: Option<String>,
    /// The value of `--security-opt` that names the seccomp profile.
    pub seccomp: Option<String>,
    /// What the options of every launch depend on.
    pub explicit: Explicit,
}

/// The argument list and environment of `podman run -d` or `podman create`.
///
/// # Errors
/// What `check` refuses.
pub fn argv(spec: &RunSpec, verb: Verb, context: &Context) -> Result<Rendered, LaunchError> {
    check(spec)?;
    let command = RunCommand {
        userns: context.users.args(),
        explicit: explicit(spec, context).args(),
        runtime: spec.runtime.clone(),
        annotations: spec.annotations.clone().into_iter().collect(),
        security: security(spec, context),
        network: context.network.clone(),
        gpu: spec.gpu_enabled,
        memory: spec.memory.clone(),
        cpus: spec.cpus.clone(),
        extra: spec.extra_args.clone(),
        volumes: spec.mounts().map(|v| v.mount_arg(context.users.reowns())).collect(),
        env: spec.env.iter().map(|(k, v)| env_entry(k, v)).collect(),
        name: spec.container_name.clone(),
        hostname: spec.hostname.clone(),
        workdir: WORKDIR.into(),
        pinned: context.image.is_some(),
        image: context.image.clone().unwrap_or_else(|| spec.image.clone()),
        command: spec.command.clone(),
    };
    Ok(command.render(verb))
}

/// The values of `--security-opt`.
fn security(spec: &RunSpec, context: &Context) -> Vec<String> {
    let restricted = (!spec.unrestricted).then(|| "no-new-privileges".to_owned());
    restricted.into_iter().chain(context.seccomp.clone()).collect()
}

/// The options of every launch without the limits that the caller sets.
fn explicit(spec: &RunSpec, context: &Context) -> Explicit {
    let kind = |value: &str| value.split('=').next().unwrap_or_default().to_owned();
    Explicit {
        own_ulimits: extra::values(&spec.extra_args, "--ulimit").into_iter().map(kind).collect(),
        own_log: !extra::values(&spec.extra_args, "--log-driver").is_empty()
            || extra::values(&spec.extra_args, "--log-opt").iter().any(|option| option.starts_with("max-size=")),
        own_pids_limit: !extra::values(&spec.extra_args, "--pids-limit").is_empty(),
        ..context.explicit.clone()
    }
}

fn env_entry(name: &str, value: &str) -> EnvEntry {
    if is_sensitive(name, value) && !PODMANS_OWN.contains(&name) {
        EnvEntry::Hidden(name.to_owned(), value.to_owned())
    } else {
        EnvEntry::Plain(name.to_owned(), value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn full() -> RunSpec {
        serde_json::from_value(json!({
            "container_name": "c1", "image": "img:1", "env": {"A": "1", "API_TOKEN": "s"},
            "volumes": [
                {"host_path": "/h/a", "container_path": "/workspace", "sharing": "private"},
                {"host_path": "/h/rt", "container_path": "/run/terok", "live": true}
            ],
            "command": ["bash", "-lc", "x"], "task_dir": "/t", "gpu_enabled": true, "memory": "4g", "cpus": "2",
            "extra_args": ["-p", "127.0.0.1:1:2"], "unrestricted": false, "hostname": "hn", "runtime": "krun",
            "annotations": {"krun.cpus": "2", "dossier.meta_path": "/m.json"}
        }))
        .unwrap()
    }

    fn context() -> Context {
        let explicit =
            Explicit { hard_files: 9, hard_processes: 7, last_capability: 3, log_size: 5, ..Explicit::default() };
        Context {
            users: UserMap::Caller,
            network: vec!["--shield".into()],
            image: None,
            seccomp: Some("seccomp=/p.json".into()),
            explicit,
        }
    }

    const MIDDLE: &str = "--userns=keep-id:uid=1000,gid=1000 --pid private --ipc private --uts private --cgroupns \
        private --cgroups enabled --privileged=false --read-only=false --init=false --env-host=false \
        --http-proxy=false --no-hosts=false --umask 0022 --log-driver k8s-file \
        --log-opt max-size=5 --oom-score-adj 600 \
        --cap-drop=DAC_READ_SEARCH --ulimit core=0:0 --ulimit nofile=9:9 --ulimit nproc=7:7 --pids-limit 2048 \
        --runtime krun --annotation krun.cpus=2 --annotation \
        dossier.meta_path=/m.json --security-opt no-new-privileges --security-opt seccomp=/p.json --shield --device nvidia.com/gpu=all -e \
        NVIDIA_VISIBLE_DEVICES=all -e NVIDIA_DRIVER_CAPABILITIES=all --memory 4g --cpus 2 -p 127.0.0.1:1:2";
    const END: &str =
        "-v /h/rt:/run/terok:z -e A=1 -e API_TOKEN --name c1 --hostname hn -w /workspace img:1 bash -lc x";

    #[test]
    fn everything_in_its_place() {
        let run = argv(&full(), Verb::Run, &context()).unwrap();
        assert_eq!(run.args.join(" "), format!("run -d {MIDDLE} -v /h/a:/workspace:Z {END}"));
        assert_eq!(run.env, [("API_TOKEN".to_owned(), "s".to_owned())]);
    }

    #[test]
    fn sealed_mounts_only_what_is_live() {
        let sealed = RunSpec { sealed: true, ..full() };
        let create = argv(&sealed, Verb::Create, &context()).unwrap();
        assert_eq!(create.args.join(" "), format!("create {MIDDLE} {END}"));
    }

    #[test]
    fn a_checked_image_is_run_by_its_identifier() {
        let spec = RunSpec { extra_args: vec!["--pull=always".into()], ..full() };
        let run = argv(&spec, Verb::Run, &Context { image: Some("f00d".into()), ..context() }).unwrap();
        assert!(run.args.join(" ").ends_with("-w /workspace --pull=never f00d bash -lc x"), "{:?}", run.args);
    }

    #[test]
    fn the_root_of_a_user_namespace_needs_no_other_one() {
        let run = argv(&full(), Verb::Run, &Context::default()).unwrap();
        assert_eq!(run.args[2..4], ["--pid", "private"]);
    }

    // holds: root-has-a-user-namespace
    #[test]
    fn containers_of_root_have_ids_of_their_own_and_own_their_mounts() {
        let root = Context { users: UserMap::Subordinate, ..context() };
        let text = argv(&full(), Verb::Run, &root).unwrap().args.join(" ");
        assert!(text.starts_with("run -d --uidmap 0:2130706432:65536 --gidmap 0:2130706432:65536 --pid"), "{text}");
        assert!(text.contains("-v /h/a:/workspace:Z,U -v /h/rt:/run/terok:z,U"), "{text}");
    }

    #[test]
    fn limits_of_the_caller_are_said_once() {
        let own = [
            "--ulimit=nofile=1:2",
            "--ulimit",
            "core=-1",
            "--pids-limit",
            "5",
            "--log-opt=max-size=9",
            "--env",
            "--ulimit",
        ];
        let spec = RunSpec { extra_args: own.map(str::to_owned).into(), ..full() };
        let text = argv(&spec, Verb::Run, &context()).unwrap().args.join(" ");
        for (word, times) in [("nofile=", 1), ("core=", 1), ("nproc=", 1), ("--pids-limit", 1), ("max-size=", 1)] {
            assert_eq!(text.matches(word).count(), times, "{word}: {text}");
        }
    }

    #[test]
    fn podmans_own_variables_stay_out_of_its_environment() {
        assert!(matches!(env_entry("REGISTRY_AUTH_FILE", "/x"), EnvEntry::Plain(..)));
        assert!(matches!(env_entry("CONTAINER_SSHKEY", "/x"), EnvEntry::Plain(..)));
        assert!(matches!(env_entry("REMOTE", "http://t@h/r"), EnvEntry::Hidden(..)));
    }

    #[test]
    fn nothing_is_written_for_a_refused_description() {
        let bad = RunSpec { runtime: Some("/tmp/x".into()), ..full() };
        assert!(argv(&bad, Verb::Run, &context()).is_err());
    }
}
