//! Projects on a real disk: what is derived, what is found, what is refused, and what it costs.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base::fault::Fault;
use serde_json::{Value, json};

use crate::model::{self, FILE, Model, Surroundings};
use crate::{change, discover, setting};

/// A home of its own; the variables belong to the process, so that users of one take turns.
struct Home {
    dir: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());
/// An empty file that nobody changed for a while; those of a test are too young to be remembered.
const EMPTY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../python/terok_native/py.typed");

impl Home {
    fn new() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        for (name, below) in [
            ("HOME", ""),
            ("XDG_CONFIG_HOME", ".config"),
            ("XDG_DATA_HOME", ".local/share"),
            ("TEROK_ROOT", "state"),
            ("TEROK_CONFIG_DIR", "system"),
            ("TEROK_CONFIG_FILE", "config.yml"),
            ("GIT_CONFIG_GLOBAL", "gitconfig"),
        ] {
            // SAFETY: every test that reads or writes these variables holds the turn.
            unsafe { std::env::set_var(name, home.join(below)) };
        }
        setting::forget();
        Self { dir, _turn: turn }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(below)
    }

    fn put(&self, below: &str, text: &str) -> PathBuf {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn project(&self, id: &str, text: &str) -> PathBuf {
        self.put(&format!(".config/terok/projects/{id}/{FILE}"), text)
    }
}

fn load(id: &str) -> Result<Model, crate::ProjectError> {
    discover::load(id).map(|model| Model::clone(&model))
}

/// Replaces the home by `~` in every text.
fn shown(value: &Value, home: &Path) -> Value {
    let home = home.to_string_lossy();
    serde_json::from_str(&value.to_string().replace(home.trim_end_matches('/'), "~")).unwrap()
}

// improves: 30-7.1-paths 30-7.1-inherit 30-7.1-hook-off
#[test]
fn models_follow_the_table() {
    let table = include_str!("../../tests/fixtures/project/models.json");
    for case in serde_json::from_str::<Vec<Value>>(table).unwrap() {
        let home = Home::new();
        home.put("config.yml", case["global"].as_str().unwrap_or(""));
        home.project("p", case["project"].as_str().unwrap());
        match (load("p"), case["error"].as_str()) {
            (Ok(model), None) => {
                let model = shown(&serde_json::to_value(&model).unwrap(), &home.path(""));
                for (field, wanted) in case["is"].as_object().unwrap() {
                    assert_eq!(model.get(field), Some(wanted), "{field}: {case}");
                }
            }
            (Err(error), Some(code)) => {
                assert_eq!((error.code(), error.kind()), (code, base::fault::Kind::Usage), "{case}: {error}");
                let text = base::fault::explain(&error);
                for part in case["says"].as_array().into_iter().flatten() {
                    assert!(text.contains(part.as_str().unwrap()), "{case}: {text}");
                }
            }
            (found, _) => panic!("{case}: {found:?}"),
        }
    }
}

#[test]
fn one_broken_project_hides_no_other() {
    let home = Home::new();
    for (id, text) in [("b", "- a\n"), ("a", ""), ("d", "bogus: \"\u{9b}31m\u{1}\"\n"), ("c", ""), ("default", "")] {
        home.project(id, text);
    }
    home.put("system/projects/c/project.yml", "bogus: 1\n");
    home.put("system/projects/s/project.yml", "");
    std::fs::create_dir_all(home.path(".config/terok/projects/no-file")).unwrap();
    std::fs::create_dir_all(home.path(".config/terok/projects/odd/project.yml")).unwrap();
    home.project("Foo", "");
    home.project(".hidden", "");
    let long = "x".repeat(53);
    home.project(&long, "");
    let found = discover::all().unwrap();
    let healthy: Vec<_> = found.healthy.iter().map(|model| model.id.as_str()).collect();
    let broken: Vec<_> = found.broken.iter().map(|broken| broken.id.as_str()).collect();
    assert_eq!(healthy, ["a", "c", "s"]);
    assert_eq!(broken, ["b", "d", "default", &long]);
    assert!(found.broken.iter().all(|b| !b.error.starts_with(['\n', ' ']) && b.config_path.ends_with("project.yml")));
    let strange = found.broken.iter().flat_map(|b| b.error.chars()).any(|c| c.is_control() && c != '\n');
    assert!(!strange, "{found:?}");
    assert_eq!(discover::directories().unwrap().len(), 7);
}

#[test]
fn links_and_what_cannot_be_looked_at() {
    let home = Home::new();
    let real = home.put("elsewhere/linked/project.yml", "tasks: {root: here}\n");
    let projects = home.path(".config/terok/projects");
    home.project("plain", "");
    symlink(real.parent().unwrap(), projects.join("linked")).unwrap();
    symlink("loop", projects.join("loop")).unwrap();
    symlink("/nowhere", projects.join("dangling")).unwrap();
    std::fs::create_dir(projects.join("odd")).unwrap();
    symlink("x".repeat(300), projects.join("odd/project.yml")).unwrap();
    let found = discover::all().unwrap();
    let healthy: Vec<_> = found.healthy.iter().map(|model| model.id.as_str()).collect();
    assert_eq!(healthy, ["linked", "plain"]);
    assert_eq!(found.healthy[0].root, real.parent().unwrap());
    assert_eq!(found.healthy[0].tasks_root, real.parent().unwrap().join("here"));
    assert_eq!(found.broken.iter().map(|b| b.id.as_str()).collect::<Vec<_>>(), ["odd"]);
    assert!(found.broken[0].error.starts_with("Failed to read"), "{found:?}");
    assert_eq!(load("odd").unwrap_err().code(), "project-read");
}

// improves: 30-7.2-lookup-id
#[test]
fn lookups_check_the_id_first() {
    let home = Home::new();
    home.project("p", "");
    let outside = home.put("x/project.yml", "");
    let absolute = outside.parent().unwrap().to_string_lossy().into_owned();
    for id in ["../../../x", &absolute, "..", ".", "", "p/", "p\0", "P"] {
        assert_eq!(discover::root_of(id).unwrap_err().code(), "project-id", "{id:?}");
        assert_eq!(load(id).unwrap_err().code(), "project-id", "{id:?}");
        assert_eq!(change::set_agents(id, "all").unwrap_err().code(), "project-id", "{id:?}");
    }
    let unknown = load("q").unwrap_err().to_string();
    assert!(unknown.contains(".config/terok/projects/q") && unknown.contains("system/projects/q"), "{unknown}");
}

// improves: 30-7.2-id-is-directory
#[test]
fn an_id_that_is_not_the_directorys_name_is_broken() {
    let home = Home::new();
    home.project("p", "project: {id: other}\n");
    home.project("twin", "project: {id: p}\n");
    let found = discover::all().unwrap();
    assert!(found.healthy.is_empty() && found.broken.len() == 2);
    assert!(found.broken[0].error.contains("`other`") && found.broken[0].error.contains("hint:"), "{found:?}");
    assert_eq!(load("p").unwrap_err().code(), "project-renamed");
    assert_eq!(load("other").unwrap_err().code(), "project-unknown");
}

// improves: 30-7.2-git-once
#[test]
fn git_is_asked_again_only_when_its_file_changed() {
    let home = Home::new();
    home.project("p", "");
    assert_eq!(load("p").unwrap().human_name.as_deref(), Some("Nobody"));
    let bin = home
        .put("bin/git", "#!/bin/sh\necho asked >>\"$HOME/asked\"\nprintf 'user.name\\nA B\\0user.email\\na@x\\0'\n");
    std::fs::set_permissions(&bin, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let before = std::env::var_os("PATH").unwrap();
    // SAFETY: the turn is held.
    unsafe { std::env::set_var("PATH", format!("{}:{}", home.path("bin").display(), before.to_string_lossy())) };
    for round in 1..=2 {
        home.put("gitconfig", &format!("# {round}\n{}", " ".repeat(round)));
        // Until its stamp proves something, the answer is not kept (`base::stamp`).
        std::thread::sleep(std::time::Duration::from_millis(250));
        for _ in 0..5 {
            let model = load("p").unwrap();
            assert_eq!((model.human_name.as_deref(), model.human_email.as_deref()), (Some("A B"), Some("a@x")));
            discover::all().unwrap();
        }
        assert_eq!(std::fs::read_to_string(home.path("asked")).unwrap().lines().count(), round);
    }
    // SAFETY: as above.
    unsafe { std::env::set_var("PATH", before) };
}

#[test]
fn a_changed_file_is_seen_at_once() {
    let home = Home::new();
    let path = home.project("p", "image: {agents: one}\n");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    for agents in ["one", "two", "six", "ten"] {
        std::fs::write(&path, format!("image: {{agents: {agents}}}\n")).unwrap();
        std::fs::File::open(&path).unwrap().set_modified(old).unwrap();
        assert_eq!(load("p").unwrap().agents, agents);
    }
}

#[test]
fn what_is_remembered_follows_settings_and_file() {
    let home = Home::new();
    std::fs::create_dir_all(home.path(".config/terok/projects/p")).unwrap();
    let path = home.path(".config/terok/projects/p/project.yml");
    symlink(EMPTY, &path).unwrap();
    let first = discover::load("p").unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &discover::load("p").unwrap()));
    home.put("config.yml", "image: {agents: two}\n");
    assert_eq!((first.agents.as_str(), load("p").unwrap().agents.as_str()), ("all", "two"));
    home.put("gitconfig", "[user]\nname = A\n");
    assert_eq!(load("p").unwrap().human_name.as_deref(), Some("A"));
    std::fs::remove_file(&path).unwrap();
    home.project("p", "image: {agents: three}\n");
    assert_eq!(load("p").unwrap().agents, "three");
}

#[test]
fn a_link_that_leads_elsewhere_is_followed_anew() {
    let home = Home::new();
    std::fs::create_dir_all(home.path(".config/terok/projects/p")).unwrap();
    symlink(EMPTY, home.path(".config/terok/projects/p/project.yml")).unwrap();
    std::fs::create_dir_all(home.path("state/sandbox-live/tasks")).unwrap();
    let link = home.path("state/sandbox-live/tasks/p");
    for disk in ["one", "two"] {
        std::fs::create_dir(home.path(disk)).unwrap();
        let _ = std::fs::remove_file(&link);
        symlink(home.path(disk), &link).unwrap();
        assert_eq!(load("p").unwrap().tasks_root, home.path(disk));
    }
}

#[test]
fn a_derived_project_keeps_comments_and_gate() {
    let home = Home::new();
    let text = "# mine\nproject:\n  name: Old # shown\ngit: {upstream_url: 'u'}\nagent:\n  model: opus\n# end\n";
    home.project("old", text);
    home.put(".config/terok/projects/old/instructions.md", "do this\n");
    home.put(".config/terok/projects/old/presets/a.yml", "model: x\n");
    let dir = change::derive("old", "new").unwrap();
    assert_eq!(dir, home.path(".config/terok/projects/new"));
    let derived = std::fs::read_to_string(dir.join(FILE)).unwrap();
    assert!(derived.starts_with("# mine\nproject:\n  name: Old # shown\n") && derived.contains("# end"), "{derived}");
    let (old, new) = (load("old").unwrap(), load("new").unwrap());
    assert_eq!((new.gate_path, new.upstream_url), (old.gate_path, old.upstream_url));
    assert!(new.agent_config.is_empty() && !old.agent_config.is_empty());
    assert_eq!(std::fs::read_to_string(dir.join("instructions.md")).unwrap(), "do this\n");
    assert!(!dir.join("presets").exists());
    home.put("system/projects/sys/project.yml", "");
    for (from, to, code) in [
        ("old", "new", "project-exists"),
        ("old", "sys", "project-exists"),
        ("old", "default", "project-id"),
        ("old", "../y", "project-id"),
        ("none", "y", "project-unknown"),
    ] {
        assert_eq!(change::derive(from, to).unwrap_err().code(), code, "{from} {to}");
    }
    assert_eq!(std::fs::read_dir(home.path(".config/terok/projects")).unwrap().count(), 2);
}

#[test]
fn what_a_killed_derivation_left_goes_with_the_next() {
    let home = Home::new();
    home.project("old", "");
    home.put(".config/terok/projects/.derived-0123456789ab/instructions.md", "half");
    home.put(".config/terok/projects/.derived-by-hand/project.yml", "mine");
    change::derive("old", "new").unwrap();
    let mut left: Vec<_> = std::fs::read_dir(home.path(".config/terok/projects"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, [".derived-by-hand", "new", "old"]);
}

#[test]
fn instructions_that_cannot_be_copied_are_named() {
    let home = Home::new();
    let instructions = home.project("old", "").with_file_name("instructions.md");
    let pipe = |path: &Path| {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    };
    for make in [|path: &Path| std::fs::create_dir(path).unwrap(), pipe] {
        make(&instructions);
        let refused = change::derive("old", "new").unwrap_err();
        let text = base::fault::explain(&refused);
        assert!(text.contains("old/instructions.md: not a regular file"), "{} {text}", refused.code());
        std::fs::remove_dir(&instructions).or_else(|_| std::fs::remove_file(&instructions)).unwrap();
    }
    assert_eq!(std::fs::read_dir(home.path(".config/terok/projects")).unwrap().count(), 1);
}

#[test]
fn one_of_many_derives_an_id() {
    let home = Home::new();
    home.project("a", "project: {name: a}\n");
    home.project("b", "project: {name: b}\n");
    home.put(".config/terok/projects/a/instructions.md", "a");
    home.put(".config/terok/projects/b/instructions.md", "b");
    let made = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|n| scope.spawn(move || change::derive(if n % 2 == 0 { "a" } else { "b" }, "new").is_ok()))
            .collect();
        threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>()
    });
    assert_eq!(made, 1);
    let dir = home.path(".config/terok/projects/new");
    let origin = std::fs::read_to_string(dir.join("instructions.md")).unwrap();
    assert!(std::fs::read_to_string(dir.join(FILE)).unwrap().contains(&format!("name: {origin}")));
    assert_eq!(std::fs::read_dir(home.path(".config/terok/projects")).unwrap().count(), 3);
}

#[test]
fn agents_are_set_in_place() {
    let home = Home::new();
    let path = home.project("p", "# top\nimage:\n  base_image: x # why\n  agents: all # all of them\nrun: {}\n");
    assert_eq!(change::set_agents("p", "claude,-gh").unwrap(), path);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, "# top\nimage:\n  base_image: x # why\n  agents: claude,-gh # all of them\nrun: {}\n");
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    home.project("broken", "- a\n");
    assert_eq!(change::set_agents("broken", "all").unwrap_err().code(), "project-edit");
}

#[test]
fn presets_and_models_meet() {
    let home = Home::new();
    home.project("p", "agent: {subagents: [{file: a.md}, {file: ~/b.md}, 3]}\n");
    let model = load("p").unwrap();
    let files = shown(&json!(model.agent_config["subagents"]), &home.path(""));
    assert_eq!(files, json!([{"file": "~/.config/terok/projects/p/a.md"}, {"file": "~/b.md"}, 3]));
    let tiers = crate::preset::Tiers::of(&model.root, &home.path("bundled")).unwrap();
    home.put("bundled/a.yml", "model: x\n");
    home.put(".config/terok/core/presets/b.yml", "model: x\n");
    home.put(".config/terok/projects/p/presets/c.yml", "model: x\n");
    let found: Vec<_> = tiers.list().into_iter().map(|preset| (preset.name, preset.source)).collect();
    assert_eq!(found, [("a", "bundled"), ("b", "global"), ("c", "project")].map(|(n, s)| (n.to_owned(), s)));
}

#[test]
fn a_rendered_file_is_a_project() {
    let home = Home::new();
    for base in ["fedora", "nvidia"] {
        for class in ["online", "gatekeeping"] {
            let answers = json!({"project_id": "p", "upstream_url": "", "default_branch": "", "user_snippet": "RUN x",
                                 "security_class": class, "base": base, "credentials_scope": "project", "agents": "all"});
            let text = crate::wizard::render(&serde_json::from_value(answers).unwrap()).unwrap();
            home.project("p", &text);
            let around = Surroundings::current().unwrap();
            let model = model::read(&home.path(".config/terok/projects/p"), &around).unwrap();
            assert_eq!((model.security_class.as_str(), model.credentials_scope.as_str()), (class, "project"));
            assert_eq!((model.upstream_url.as_deref(), model.snippet_inline.as_deref()), (None, Some("RUN x\n")));
        }
    }
}
