//! Tests of `hostdir`; the table is also what the tests of the Python interface run.

use super::*;

#[derive(serde::Deserialize)]
struct Table {
    links: Vec<(String, String)>,
    refused: Vec<(String, String)>,
    accepted: Vec<String>,
}

struct Site {
    _root: tempfile::TempDir,
    home: PathBuf,
    place: Place,
    task: PathBuf,
}

impl Site {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let place =
            Place { state_dir: at("state/sandbox"), runtime_dir: at("runtime/sandbox"), tcp: false, allow_root: false };
        for path in [at("home/.ssh"), at("home/project"), at("tasks/t1")] {
            std::fs::create_dir_all(path).unwrap();
        }
        Self { home: at("home"), place, task: at("tasks/t1"), _root: root }
    }

    fn path(&self, text: &str) -> PathBuf {
        let places = [
            ("HOME", &self.home),
            ("STATE", &self.place.state_dir),
            ("RUNTIME", &self.place.runtime_dir),
            ("TASK", &self.task),
        ];
        let found = places.iter().find_map(|(name, path)| Some((path, text.strip_prefix(name)?)));
        found.map_or_else(|| text.into(), |(path, rest)| format!("{}{rest}", path.display()).into())
    }

    fn spec(&self) -> RunSpec {
        let text = serde_json::json!({"container_name": "c1", "image": "i", "task_dir": self.task});
        serde_json::from_value(text).unwrap()
    }

    fn roots(&self) -> Roots {
        Roots::of(&self.place, Some(&self.spec()), vec![base::path::resolve(&self.home)])
    }
}

// holds: dangerous-host-directories
#[test]
fn host_directories_are_judged_by_the_table() {
    let table: Table =
        serde_json::from_str(include_str!("../../tests/fixtures/sandbox/host_directories.json")).unwrap();
    let site = Site::new();
    for (link, target) in &table.links {
        std::os::unix::fs::symlink(site.path(target), site.path(link)).unwrap();
    }
    let roots = site.roots();
    for (path, why) in &table.refused {
        let danger = judge(&roots, &site.path(path)).map(|danger| danger.to_string());
        assert!(danger.as_ref().is_some_and(|text| text.starts_with(why)), "{path}: {danger:?}");
    }
    for path in &table.accepted {
        assert_eq!(judge(&roots, &site.path(path)), None, "{path}");
    }
}

// holds: dangerous-host-directories
#[test]
fn launches_check_volumes_and_podman_options() {
    let site = Site::new();
    let shown = |path: &str| site.path(path).display().to_string();
    let volume = serde_json::json!({"host_path": site.path("HOME/.ssh"), "container_path": "/x"});
    let with_volume = RunSpec { volumes: vec![serde_json::from_value(volume).unwrap()], ..site.spec() };
    for options in [
        vec!["-v".to_owned(), format!("{}:/x:ro", shown("STATE"))],
        vec![format!("-v{}:/x", shown("STATE/sidecar"))],
        vec![format!("--volume={}:/x", shown("RUNTIME"))],
        vec!["--mount".to_owned(), "type=bind,source=/,target=/x".to_owned()],
        vec!["--mount=type=bind,dst=/x,src=/etc".to_owned()],
    ] {
        let refused = check_spec(&site.place, RunSpec { extra_args: options.clone(), ..site.spec() });
        assert!(matches!(refused, Err(LaunchError::DangerousMount { .. })), "{options:?}");
        assert!(check_options(&site.place, &options).is_err(), "{options:?}");
    }
    let named = ["-v", "cache:/x", "--mount", "type=volume,source=cache,target=/y"].map(str::to_owned);
    assert!(check_spec(&site.place, RunSpec { extra_args: named.into(), ..site.spec() }).is_ok());
    // The private home of this test is not this process's home; what lies in it is free.
    assert!(check_spec(&site.place, with_volume).is_ok());
}

#[test]
fn overrides_name_one_path_and_are_recorded() {
    use base::fault::Fault;
    let site = Site::new();
    let state = site.path("STATE");
    let volume = |path: &Path| serde_json::from_value(serde_json::json!({"host_path": path, "container_path": "/x"}));
    let spec = RunSpec { volumes: vec![volume(&state).unwrap()], ..site.spec() };
    let fault = check_spec(&site.place, spec.clone()).unwrap_err();
    let hint = fault.hint().unwrap();
    assert!(hint.contains("--allow-dangerous-mount") && hint.contains(VARIABLE), "{hint}");
    let allowed = RunSpec { allow_dangerous_mounts: vec![state.clone()], ..spec.clone() };
    let launched = check_spec(&site.place, allowed).unwrap();
    assert_eq!(launched.extra_args, ["--label".to_owned(), format!("{LABEL}={}", state.display())]);
    let below = RunSpec { allow_dangerous_mounts: vec![state.join("sidecar")], ..spec };
    assert!(check_spec(&site.place, below).is_err());
}
