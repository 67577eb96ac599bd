//! Private copies: what goes in, what stays with the container that wrote it, and what a restart keeps.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Folder, Rules, Shape, prepare};

fn folder() -> Folder {
    let keys = [("theme".to_owned(), Shape::Word)].into_iter().collect();
    Folder {
        name: "_a-config".into(),
        private: vec!["projects".into(), "log_*".into()],
        flows_back: Rules::from([("state.json".into(), keys)]),
        credential_file: ".login.json".into(),
    }
}

fn site(root: &Path) -> PathBuf {
    let mounts = root.join("mounts");
    let shared = mounts.join("_a-config");
    fs::create_dir_all(shared.join("projects/p")).unwrap();
    fs::create_dir_all(shared.join("commands")).unwrap();
    fs::write(shared.join("projects/p/session.jsonl"), "transcript").unwrap();
    fs::write(shared.join("log_1"), "transcript").unwrap();
    fs::write(shared.join("commands/mine.md"), "text").unwrap();
    fs::write(shared.join("state.json"), r#"{"theme": "dark"}"#).unwrap();
    fs::write(shared.join(".login.json"), "marker").unwrap();
    fs::write(shared.join("tool"), "x").unwrap();
    fs::set_permissions(shared.join("tool"), fs::Permissions::from_mode(0o4755)).unwrap();
    symlink("/etc/hostname", shared.join("link")).unwrap();
    mounts
}

fn shared_theme(mounts: &Path, theme: &str) {
    fs::write(mounts.join("_a-config/state.json"), format!(r#"{{"theme": "{theme}"}}"#)).unwrap();
}

fn theme(home: &Path) -> Value {
    serde_json::from_slice::<Value>(&fs::read(home.join("_a-config/state.json")).unwrap()).unwrap()["theme"].take()
}

// holds: agent-folder-per-container
#[test]
fn copy_has_the_settings_and_nobody_elses_transcripts() {
    let root = tempfile::tempdir().unwrap();
    let (mounts, home) = (site(root.path()), root.path().join("task/home"));
    assert_eq!(prepare(&home, &mounts, &[folder()]).unwrap(), Vec::<String>::new());
    let copy = home.join("_a-config");
    assert_eq!(fs::read_to_string(copy.join("commands/mine.md")).unwrap(), "text");
    assert_eq!(fs::read_to_string(copy.join(".login.json")).unwrap(), "marker");
    assert_eq!(fs::read_link(copy.join("link")).unwrap(), Path::new("/etc/hostname"));
    assert!(!copy.join("projects").exists() && !copy.join("log_1").exists());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&copy.join("tool")), mode(&home)), (0o755, 0o700));
}

// holds: agent-folder-per-container
#[test]
fn hook_of_one_container_reaches_no_other() {
    let root = tempfile::tempdir().unwrap();
    let mounts = site(root.path());
    let (first, second) = (root.path().join("1/home"), root.path().join("2/home"));
    prepare(&first, &mounts, &[folder()]).unwrap();
    for (file, text) in [("settings.json", r#"{"hooks": {}}"#), ("config.toml", "[mcp]"), ("plugins.js", "x")] {
        fs::write(first.join("_a-config").join(file), text).unwrap();
    }
    fs::create_dir_all(first.join("_a-config/projects/p")).unwrap();
    fs::write(first.join("_a-config/projects/p/new.jsonl"), "transcript").unwrap();
    crate::collect(&first).unwrap();
    prepare(&second, &mounts, &[folder()]).unwrap();
    for file in ["settings.json", "config.toml", "plugins.js", "projects"] {
        assert!(!second.join("_a-config").join(file).exists() && first.join("_a-config").join(file).exists(), "{file}");
    }
}

#[test]
fn restart_keeps_the_sessions_and_renews_login_and_settings() {
    let root = tempfile::tempdir().unwrap();
    let (mounts, home) = (site(root.path()), root.path().join("task/home"));
    prepare(&home, &mounts, &[folder()]).unwrap();
    fs::create_dir_all(home.join("_a-config/projects/p")).unwrap();
    fs::write(home.join("_a-config/projects/p/s.jsonl"), "session").unwrap();
    fs::write(mounts.join("_a-config/.login.json"), "marker 2").unwrap();
    shared_theme(&mounts, "light");
    prepare(&home, &mounts, &[folder()]).unwrap();
    assert_eq!(fs::read_to_string(home.join("_a-config/projects/p/s.jsonl")).unwrap(), "session");
    assert_eq!(fs::read_to_string(home.join("_a-config/.login.json")).unwrap(), "marker 2");
    assert_eq!(theme(&home), "light");

    // A setting that the container changed flows back first, when its end was not seen.
    fs::write(home.join("_a-config/state.json"), r#"{"theme": "blue"}"#).unwrap();
    prepare(&home, &mounts, &[folder()]).unwrap();
    assert!(fs::read_to_string(mounts.join("_a-config/state.json")).unwrap().contains("blue"));
    assert_eq!(theme(&home), "blue");
}

// holds: flow-back-follows-no-link
#[test]
fn renewal_writes_through_no_link() {
    let root = tempfile::tempdir().unwrap();
    let (mounts, home) = (site(root.path()), root.path().join("task/home"));
    prepare(&home, &mounts, &[folder()]).unwrap();
    let victim = root.path().join("victim");
    fs::write(&victim, "untouched").unwrap();
    for file in [".login.json", "state.json"] {
        fs::remove_file(home.join("_a-config").join(file)).unwrap();
        symlink(&victim, home.join("_a-config").join(file)).unwrap();
    }
    shared_theme(&mounts, "light");
    prepare(&home, &mounts, &[folder()]).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert_eq!(fs::read_to_string(home.join("_a-config/.login.json")).unwrap(), "marker");
}

#[test]
fn interrupted_copy_is_made_again() {
    let root = tempfile::tempdir().unwrap();
    let (mounts, home) = (site(root.path()), root.path().join("task/home"));
    fs::create_dir_all(home.join("._a-config.part/old")).unwrap();
    prepare(&home, &mounts, &[folder()]).unwrap();
    assert!(!home.join("_a-config/old").exists() && !home.join("._a-config.part").exists());
}

#[test]
fn huge_folder_is_copied_in_part_with_a_warning() {
    let root = tempfile::tempdir().unwrap();
    let (mounts, home) = (site(root.path()), root.path().join("task/home"));
    let sparse = fs::File::create(mounts.join("_a-config/huge")).unwrap();
    sparse.set_len(300 * 1024 * 1024).unwrap();
    let warnings = prepare(&home, &mounts, &[folder()]).unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("`huge`"), "{warnings:?}");
    assert_eq!(theme(&home), "dark");
}
