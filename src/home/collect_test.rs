//! Attacks of a container on the host and on later containers, through its copy of an agent folder.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::{Folder, Report, Rules, Shape, collect, prepare};

struct Site {
    _root: tempfile::TempDir,
    mounts: PathBuf,
    home: PathBuf,
}

impl Site {
    /// One shared folder with settings of the user, and its copy.
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let (mounts, home) = (root.path().join("mounts"), root.path().join("task/home"));
        fs::create_dir_all(mounts.join("_a-config")).unwrap();
        fs::write(mounts.join("_a-config/state.json"), r#"{"theme": "dark", "own": [1], "done": false}"#).unwrap();
        let site = Self { _root: root, mounts, home };
        site.prepare();
        site
    }

    fn prepare(&self) -> Vec<String> {
        prepare(&self.home, &self.mounts, &[folder()]).unwrap()
    }

    fn copy(&self, file: &str) -> PathBuf {
        self.home.join("_a-config").join(file)
    }

    fn write(&self, value: &Value) {
        fs::write(self.copy("state.json"), value.to_string()).unwrap();
    }

    fn collect(&self) -> Report {
        collect(&self.home).unwrap()
    }

    fn shared(&self) -> Value {
        serde_json::from_slice(&fs::read(self.mounts.join("_a-config/state.json")).unwrap()).unwrap()
    }

    fn is_untouched(&self) -> bool {
        self.shared() == json!({"theme": "dark", "own": [1], "done": false})
    }
}

fn folder() -> Folder {
    let keys = [("done", Shape::Flag), ("theme", Shape::Word)].map(|(key, shape)| (key.to_owned(), shape));
    let nested = [("model".to_owned(), Shape::Word)];
    let flows_back = Rules::from([
        ("state.json".into(), keys.into_iter().collect()),
        ("sub/model.json".into(), nested.into_iter().collect()),
    ]);
    Folder { name: "_a-config".into(), flows_back, ..Folder::default() }
}

#[test]
fn named_keys_flow_back_once_and_keep_the_rest() {
    let site = Site::new();
    site.write(&json!({"theme": "light", "done": true, "mcpServers": {"x": {"command": "id"}}, "own": "gone"}));
    fs::create_dir(site.copy("sub")).unwrap();
    fs::write(site.copy("sub/model.json"), r#"{"model": "m-1", "other": 1}"#).unwrap();
    let report = site.collect();
    assert_eq!(report.refused, Vec::<String>::new());
    assert_eq!(report.changed.len(), 3);
    assert_eq!(site.shared(), json!({"theme": "light", "own": [1], "done": true}));
    let nested = fs::read_to_string(site.mounts.join("_a-config/sub/model.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&nested).unwrap(), json!({"model": "m-1"}));
    assert_eq!(site.collect(), Report::default());
}

#[test]
fn value_that_the_container_did_not_change_does_not_flow_back() {
    let site = Site::new();
    fs::write(site.mounts.join("_a-config/state.json"), r#"{"theme": "light", "own": [1], "done": false}"#).unwrap();
    assert_eq!(site.collect(), Report::default());
    assert_eq!(site.shared()["theme"], "light");
}

// holds: flow-back-is-checked
#[test]
fn misfit_value_refuses_the_whole_file() {
    for bad in [json!({"command": "id"}), json!("a\u{1b}]52;c;x"), json!("$(id)"), json!("x".repeat(300)), json!(null)]
    {
        let site = Site::new();
        site.write(&json!({"done": true, "theme": bad}));
        assert_eq!(site.collect().refused.len(), 1, "{bad}");
        assert!(site.is_untouched(), "{bad}");
    }
}

// holds: flow-back-is-checked
#[test]
fn large_or_malformed_file_is_refused() {
    let large = format!(r#"{{"theme": "light", "pad": "{}"}}"#, "x".repeat(5 * 1024 * 1024));
    let deep = format!(r#"{{"theme": "light", "pad": {}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    for text in [large.as_str(), deep.as_str(), "[]", "{", "\u{0}\u{0}", r#""theme""#] {
        let site = Site::new();
        fs::write(site.copy("state.json"), text).unwrap();
        assert_eq!(site.collect().refused.len(), 1);
        assert!(site.is_untouched());
    }
}

// holds: flow-back-follows-no-link
#[test]
fn links_in_the_copy_are_not_followed() {
    let site = Site::new();
    let outside = site.home.parent().unwrap().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("model.json"), r#"{"model": "secret"}"#).unwrap();
    fs::write(outside.join("state.json"), r#"{"theme": "secret"}"#).unwrap();
    symlink(&outside, site.copy("sub")).unwrap();
    fs::remove_file(site.copy("state.json")).unwrap();
    symlink(outside.join("state.json"), site.copy("state.json")).unwrap();
    assert_eq!(site.collect().refused.len(), 2);
    assert!(site.is_untouched() && !site.mounts.join("_a-config/sub").exists());

    // The folder itself as a link into the shared folders, and a pipe that would block the reader.
    fs::rename(site.home.join("_a-config"), site.home.join("moved")).unwrap();
    symlink(&outside, site.home.join("_a-config")).unwrap();
    assert_eq!(site.collect().changed, Vec::<String>::new());
    fs::remove_file(site.home.join("_a-config")).unwrap();
    fs::create_dir(site.home.join("_a-config")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        site.copy("state.json"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert_eq!(site.collect().refused.len(), 1);
    assert!(site.is_untouched());
}

// holds: flow-back-follows-no-link
#[test]
fn link_in_the_shared_folder_is_not_written_through() {
    let site = Site::new();
    let victim = site.home.parent().unwrap().join("victim.json");
    fs::write(&victim, "{}").unwrap();
    fs::remove_file(site.mounts.join("_a-config/state.json")).unwrap();
    symlink(&victim, site.mounts.join("_a-config/state.json")).unwrap();
    site.write(&json!({"theme": "light"}));
    assert_eq!(site.collect().refused.len(), 1);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "{}");
}

#[test]
fn removed_shared_folder_is_not_created_again() {
    let site = Site::new();
    site.write(&json!({"theme": "light"}));
    fs::remove_dir_all(&site.mounts).unwrap();
    assert_eq!(site.collect(), Report::default());
    assert!(!site.mounts.exists());
    fs::remove_dir_all(&site.home).unwrap();
    assert_eq!(site.collect(), Report::default());
}

#[test]
fn damaged_record_is_reported() {
    let site = Site::new();
    fs::write(site.home.join("copies.json"), "{}").unwrap();
    assert!(collect(&site.home).unwrap_err().to_string().contains("copies.json"));
}
