//! Creation, changes from several sides at once, and the end of a task.

use std::collections::HashSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use base::fault::Fault;
use serde_json::{Value, json};

use crate::create::create_with;
use crate::{Book, Meta, archive, create, hook, list, prepare, tree};

struct Stage {
    dir: tempfile::TempDir,
    book: Book,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { book: Book::new(dir.path().join("meta")), dir }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn task(&self) -> String {
        create(&self.book, &self.path("tasks"), "p", "first").unwrap().id
    }

    fn set(&self, task: &str, changes: Value) {
        assert!(self.book.update(task, changes.as_object().unwrap(), &[]).unwrap());
    }

    fn archive(&self, task: &str) -> PathBuf {
        let task_dir = self.path("tasks").join(task);
        archive::archive(&self.book, task, &task_dir, &self.path("archive")).unwrap().unwrap()
    }
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o777
}

// improves: 31-1.1-reserved-id 31-3.1-no-adoption
#[test]
fn an_identifier_is_given_once_and_no_directory_is_adopted() {
    let stage = Stage::new();
    let root = stage.path("tasks");
    // Few identifiers and many hands: everybody runs into everybody.
    let ids: Vec<String> = (0..40).map(|number| format!("k1a{}{}", number / 10, number % 10)).collect();
    std::fs::create_dir_all(root.join(&ids[0]).join("theirs")).unwrap();
    std::fs::create_dir_all(stage.book.dir()).unwrap();
    std::fs::write(stage.book.meta_path(&ids[1]).unwrap(), "").unwrap();
    let given = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..8 {
                    let mut turn = 0;
                    let draw = || {
                        turn += 1;
                        ids[turn - 1].clone()
                    };
                    let made = create_with(&stage.book, &root, "p", "n", draw).unwrap();
                    given.lock().unwrap().push(made.id);
                }
            });
        }
    });
    let given: HashSet<String> = given.into_inner().unwrap().into_iter().collect();
    assert_eq!(given.len(), 32);
    assert!(!given.contains(&ids[0]) && !given.contains(&ids[1]));
    assert!(!root.join(&ids[0]).join("workspace-dangerous").exists());
    let none = create_with(&stage.book, &root, "p", "n", || ids[0].clone()).unwrap_err();
    assert_eq!((none.code(), none.kind()), ("task-no-free-id", base::fault::Kind::Runtime));
}

#[test]
fn a_creation_that_fails_leaves_nothing() {
    let stage = Stage::new();
    std::fs::write(stage.path("tasks"), "a file").unwrap();
    assert_eq!(create(&stage.book, &stage.path("tasks"), "p", "n").unwrap_err().code(), "task-file");
    assert_eq!(stage.book.ids().unwrap(), Vec::<String>::new());
    assert_eq!(create(&stage.book, &stage.path("x"), "../p", "n").unwrap_err().code(), "task-unsafe-name");
    assert!(!stage.path("x").exists());
}

#[test]
fn a_directory_that_is_half_made_is_completed() {
    let stage = Stage::new();
    let dir = stage.path("k1abc");
    for half in ["", ".workspace-dangerous"] {
        std::fs::create_dir_all(dir.join(half)).unwrap();
        prepare(&dir).unwrap();
        assert!(dir.join("workspace-dangerous/.new-task-marker").is_file());
        assert!(!dir.join(".workspace-dangerous").exists());
        std::fs::remove_file(dir.join("workspace-dangerous/.new-task-marker")).unwrap();
        prepare(&dir).unwrap();
        assert!(!dir.join("workspace-dangerous/.new-task-marker").exists(), "what is complete stays as it is");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

// improves: 31-2.1-locked-changes 31-5.1-not-erased
#[test]
fn changes_from_several_sides_never_undo_each_other() {
    let stage = Stage::new();
    let task = stage.task();
    let handle = stage.book.dossier_path(&task).unwrap();
    let rounds = 50;
    std::thread::scope(|scope| {
        scope.spawn(|| (0..rounds).for_each(|n| assert!(stage.book.rename("p", &task, &format!("n-{n}")).unwrap())));
        scope.spawn(|| (0..rounds).for_each(|n| stage.set(&task, json!({"exit_code": n}))));
        scope.spawn(|| (0..rounds).for_each(|n| assert!(hook::record(&handle, &format!("hook-{n}")).unwrap())));
        scope.spawn(|| (0..rounds).for_each(|n| stage.set(&task, json!({format!("key-{n}"): n}))));
        scope.spawn(|| {
            for _ in 0..rounds {
                let listing = list(&stage.book, "p", None);
                assert!(listing.trouble.is_empty() && listing.rows.len() == 1, "{:?}", listing.trouble);
            }
        });
    });
    let meta = stage.book.read(&task).unwrap().unwrap();
    assert_eq!((meta["name"].as_str(), meta["exit_code"].as_i64()), (Some("n-49"), Some(49)));
    assert_eq!(meta["hooks_fired"].as_array().unwrap().len(), rounds);
    assert!((0..rounds).all(|n| meta[&format!("key-{n}")] == n));
    let left = std::fs::read_dir(stage.book.dir()).unwrap().count();
    assert_eq!(left, 3, "dossier, metadata and lock");
}

// improves: 31-2.1-private-files
#[test]
fn what_the_predecessor_wrote_becomes_private_when_it_is_changed() {
    let stage = Stage::new();
    std::fs::create_dir_all(stage.book.dir()).unwrap();
    let (dossier, meta) = (stage.book.dossier_path("k1abc").unwrap(), stage.book.meta_path("k1abc").unwrap());
    std::fs::write(&dossier, "{\"name\": \"n\"}").unwrap();
    std::fs::write(&meta, "mode: toad\nweb_token: t\n").unwrap();
    stage.book.write("k1abc", &stage.book.read("k1abc").unwrap().unwrap()).unwrap();
    assert_eq!((mode(&dossier), mode(&meta), mode(stage.book.dir())), (0o600, 0o600, 0o700));
}

// improves: 31-5.1-either-handle 31-5.1-reset-at-start
#[test]
fn hooks_are_recorded_once_per_run_through_either_file() {
    let stage = Stage::new();
    let task = stage.task();
    let (dossier, meta) = (stage.book.dossier_path(&task).unwrap(), stage.book.meta_path(&task).unwrap());
    let fired = || stage.book.read(&task).unwrap().unwrap()["hooks_fired"].clone();
    for (handle, name) in
        [(&dossier, "pre_start"), (&meta, "post_start"), (&dossier, "post_start"), (&meta, "post_stop")]
    {
        assert!(hook::record(handle, name).unwrap());
    }
    assert_eq!(fired(), json!(["pre_start", "post_start", "post_stop"]));
    hook::record(&dossier, "post_start").unwrap();
    assert_eq!(fired(), json!(["post_start"]), "a new run");
    for none in ["k9zzz_dossier.json", "k9zzz_meta.yml", "k9zzz.json", "other.txt"] {
        assert!(!hook::record(&stage.book.dir().join(none), "post_stop").unwrap(), "{none}");
    }
    std::fs::write(stage.book.dir().join("7.yml"), "mode: cli\n").unwrap();
    assert!(hook::record(&stage.book.dir().join("7.json"), "post_stop").unwrap());
    let old = std::fs::read_to_string(stage.book.dir().join("7.yml")).unwrap();
    assert_eq!(old, "mode: cli\nhooks_fired:\n- post_stop\n");
}

// improves: 31-4.3-archive-private
#[test]
fn the_archive_keeps_everything_but_secrets() {
    let stage = Stage::new();
    let task = stage.task();
    stage.set(&task, json!({"mode": "toad", "web_token": "s3cret", "exit_code": 4, "x": {"y": [1]}}));
    let logs = stage.path("tasks").join(&task).join("logs");
    std::fs::create_dir_all(logs.join("deep")).unwrap();
    std::fs::write(logs.join("container.log"), "line\n").unwrap();
    std::fs::write(logs.join("deep/more.log"), "more\n").unwrap();
    std::fs::write(stage.path("secret"), "s3cret").unwrap();
    symlink(stage.path("secret"), logs.join("link")).unwrap();
    let entry = stage.archive(&task);
    let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(name.ends_with(&format!("Z_{task}_first")) && name.len() == 22 + 6 + 6, "{name}");
    let kept: Value = serde_json::from_slice(&std::fs::read(entry.join("task.json")).unwrap()).unwrap();
    assert_eq!(kept["x"], json!({"y": [1]}));
    assert!(kept.get("web_token").is_none());
    assert_eq!(std::fs::read_to_string(entry.join("logs/deep/more.log")).unwrap(), "more\n");
    assert!(!entry.join("logs/link").exists());
    for (path, expected) in [("", 0o700), ("task.json", 0o600), ("logs", 0o700), ("logs/container.log", 0o600)] {
        assert_eq!(mode(&entry.join(path)), expected, "{path}");
    }
    let listed = archive::list(&stage.path("archive"));
    let row = &listed[0];
    let found = (row.task_id.as_str(), row.name.as_str(), row.mode.as_deref(), row.exit_code);
    assert_eq!(found, (task.as_str(), "first", Some("toad"), Some(4)));
    assert_eq!(archive::log(&stage.path("archive"), &name[..15]), Some(entry.join("logs/container.log")));
    assert_eq!(archive::log(&stage.path("archive"), "1999"), None);
}

#[test]
fn entries_of_one_moment_get_names_of_their_own() {
    let stage = Stage::new();
    let (task, root) = (stage.task(), stage.path("archive"));
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_micros(1_700_000_000_000_042);
    std::fs::create_dir_all(root.join(".unfinished-0123/logs")).unwrap();
    let at = || archive::archive_at(&stage.book, &task, &stage.path("none"), &root, time).unwrap().unwrap();
    let names: Vec<String> = (0..3).map(|_| at().file_name().unwrap().to_str().unwrap().to_owned()).collect();
    let base = format!("20231114T221320000042Z_{task}_first");
    assert_eq!(names, [base.clone(), format!("{base}_1"), format!("{base}_2")]);
    assert!(!root.join(".unfinished-0123").exists(), "what a killed writer left is gone");
    std::fs::write(root.join(&base).join("task.json"), "{").unwrap();
    std::fs::write(root.join(format!("{base}_1/task.json")), "").unwrap();
    let listed = archive::list(&root);
    let shown: Vec<_> = listed.iter().map(|e| (e.task_id.as_str(), e.name.as_str())).collect();
    assert_eq!(shown, [(task.as_str(), "first"), (task.as_str(), "")]);
}

#[test]
fn writers_at_once_never_take_each_other_for_killed_ones() {
    let stage = Stage::new();
    let tasks: Vec<String> = (0..8).map(|_| stage.task()).collect();
    std::thread::scope(|scope| {
        for task in &tasks {
            scope.spawn(|| (0..40).for_each(|_| assert!(stage.archive(task).join("task.json").is_file())));
        }
    });
    assert_eq!(archive::list(&stage.path("archive")).len(), 8 * 40);
}

#[test]
fn damaged_tasks_are_archived_as_they_are() {
    let stage = Stage::new();
    let task = stage.task();
    let meta = stage.book.meta_path(&task).unwrap();
    std::fs::write(&meta, "mode: cli\nweb_token: s3cret\nbroken: [\n").unwrap();
    assert!(!stage.book.mark_deleting(&task).is_ok_and(|done| done), "a damaged file is not touched");
    let entry = stage.archive(&task);
    let raw = std::fs::read_to_string(entry.join(format!("{task}_meta.yml"))).unwrap();
    assert_eq!(raw, "mode: cli\nbroken: [\n");
    assert_eq!(archive::list(&stage.path("archive"))[0].mode.as_deref(), Some("cli"));
    let unknown = archive::archive(&stage.book, "k9zzz", &stage.path("x"), &stage.path("archive")).unwrap();
    assert_eq!(unknown, None);
}

#[test]
fn a_task_with_a_hostile_name_stays_in_the_archive() {
    let stage = Stage::new();
    let task = stage.task();
    stage.book.rename("p", &task, "../../\u{1b}[2Jup").unwrap();
    let entry = stage.archive(&task);
    assert_eq!(entry.parent(), Some(stage.path("archive").as_path()));
    assert!(entry.to_str().unwrap().ends_with(&format!("Z_{task}_2jup")));
    assert_eq!(archive::list(&stage.path("archive"))[0].name, "../../up");
    assert_eq!(list(&stage.book, "p", None).rows[0].name, "../../up");
}

#[test]
fn forgetting_takes_every_file_of_the_task_and_no_other() {
    let stage = Stage::new();
    let (task, other) = (stage.task(), stage.task());
    let put = |name: &str| std::fs::write(stage.book.dir().join(name), "").unwrap();
    put(&format!(".{task}_meta.yml.0011.tmp"));
    put(&format!("{task}_dossier.json.tmp"));
    put(".k9zzz.lock");
    stage.book.mark_deleting(&task).unwrap();
    stage.book.forget(&task).unwrap();
    let mut left: Vec<String> =
        std::fs::read_dir(stage.book.dir()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, [format!("{other}_dossier.json"), format!("{other}_meta.yml")]);
    stage.book.forget(&task).unwrap();
    assert!(!stage.book.update(&task, &Meta::new(), &[]).unwrap());
    assert!(!stage.book.rename("p", &task, "x").unwrap());
    assert_eq!(std::fs::read_dir(stage.book.dir()).unwrap().count(), 2, "no lock for what does not exist");
}

#[test]
fn a_tree_goes_with_everything_but_what_its_links_lead_to() {
    let stage = Stage::new();
    let (root, outside) = (stage.path("tasks"), stage.path("outside"));
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::write(outside.join("precious"), "").unwrap();
    let top = root.join("k1abc");
    std::fs::create_dir_all(top.join("locked/inner")).unwrap();
    std::fs::write(top.join("locked/inner/f"), "").unwrap();
    symlink(&outside, top.join("link")).unwrap();
    for path in ["locked/inner", "locked"] {
        std::fs::set_permissions(top.join(path), std::fs::Permissions::from_mode(0o000)).unwrap();
    }
    assert!(tree::remove(&root, "k1abc".as_ref()).unwrap());
    assert!(!top.exists() && outside.join("precious").exists());
    assert!(!tree::remove(&root, "k1abc".as_ref()).unwrap());
    assert!(!tree::remove(&stage.path("none"), "k1abc".as_ref()).unwrap());
    symlink(&outside, &top).unwrap();
    assert!(tree::remove(&root, "k1abc".as_ref()).unwrap());
    assert!(outside.join("precious").exists());
    for bad in ["", "..", ".", "a/b"] {
        assert_eq!(tree::remove(&root, bad.as_ref()).unwrap_err().code(), "task-unsafe-name", "{bad}");
    }
}

#[test]
fn a_tree_of_any_depth_goes() {
    let stage = Stage::new();
    let (root, top) = (stage.path("tasks"), stage.path("tasks/k1abc"));
    std::fs::create_dir_all(&top).unwrap();
    // Deeper than a path can be long and than there are descriptors: made from the bottom up.
    for _ in 0..3000 {
        std::fs::create_dir(stage.path("tasks/above")).unwrap();
        std::fs::rename(&top, stage.path("tasks/above/d")).unwrap();
        std::fs::rename(stage.path("tasks/above"), &top).unwrap();
    }
    assert!(tree::remove(&root, "k1abc".as_ref()).unwrap());
    assert!(!top.exists());
}
