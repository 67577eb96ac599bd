//! Reading, writing and listing metadata.

use std::os::unix::fs::PermissionsExt;

use base::fault::Fault;
use serde_json::{Value, json};

use crate::{Book, Meta, create, list, of_handle};

fn map(value: Value) -> Meta {
    value.as_object().cloned().unwrap()
}

fn scratch() -> (tempfile::TempDir, Book) {
    let dir = tempfile::tempdir().unwrap();
    let book = Book::new(dir.path().join("meta"));
    (dir, book)
}

#[test]
fn fresh_tasks_look_as_the_predecessor_writes_them() {
    let (dir, book) = scratch();
    let root = dir.path().join("tasks");
    let made = create(&book, &root, "p", "fix-bug").unwrap();
    let read = |name: String| std::fs::read_to_string(book.dir().join(name)).unwrap();
    let id = &made.id;
    assert_eq!(
        read(format!("{id}_dossier.json")),
        format!("{{\n  \"project\": \"p\",\n  \"task\": \"{id}\",\n  \"name\": \"fix-bug\"\n}}\n")
    );
    let meta = read(format!("{id}_meta.yml"));
    let created = meta.lines().last().unwrap();
    let place = made.dir.display();
    assert_eq!(meta, format!("mode:\nworkspace: {place}\nweb_port:\n{created}\n"));
    assert!(created.starts_with("created_at: '20") && created.ends_with("+00:00'"), "{created}");
    for (path, mode) in [("", 0o700), ("workspace-dangerous", 0o700), ("workspace-dangerous/.new-task-marker", 0o644)] {
        let found = made.dir.join(path).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{path}");
    }
    assert!(made.dir.join("README.md").is_file());
    let modes = std::fs::read_dir(book.dir()).unwrap().map(|e| e.unwrap().metadata().unwrap().permissions().mode());
    assert!(modes.into_iter().all(|mode| mode & 0o777 == 0o600));
    assert_eq!(book.dir().metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

/// What both versions must agree on, written by hand in the form of the predecessor.
const THEIRS: &str = "mode: run\nworkspace: /w\nweb_port: 1877\ncreated_at: '2026-11-22T11:34:37.279015+00:00'\nweb_token: 'a: b #c'\nexit_code: 0\nhooks_fired:\n- pre_start\nhooks0: []\nunrestricted: true\nf: 1.5\npreset: yes\nx:\n  a:\n    b: 1\ny: '2026-01-01'\nz: \"line\\nline2\\n\"\ne: ''\nu: é\nn: '1'\no: '0o17'\nlst:\n- 1\n- k:\nlong: 'w w w w w w w w w w w w w w w w w w w w w w w w w w w w w w w w w w w w w w\n  w w w w w w w w w w w w w w w w w w w w w w '\nnullish: 'null'\nesc: \"\\e[1m\"\n";

#[test]
fn changes_keep_every_other_key() {
    let (_dir, book) = scratch();
    std::fs::create_dir_all(book.dir()).unwrap();
    let path = book.meta_path("k3v8h").unwrap();
    std::fs::write(&path, THEIRS).unwrap();
    std::fs::write(book.dossier_path("k3v8h").unwrap(), r#"{"task": "k3v8h", "name": "n", "extra": 1}"#).unwrap();
    let before = book.read("k3v8h").unwrap().unwrap();
    assert_eq!(before["preset"], "yes");
    assert_eq!(before["lst"], json!([1, {"k": null}]));
    assert!(!before.contains_key("extra"));
    assert!(book.update("k3v8h", &map(json!({"exit_code": null, "new": "2026-01-01"})), &["f".to_owned()]).unwrap());
    let mut expected = before.clone();
    expected.insert("exit_code".into(), Value::Null);
    expected.insert("new".into(), "2026-01-01".into());
    expected.shift_remove("f");
    assert_eq!(book.read("k3v8h").unwrap().unwrap(), expected);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("\nexit_code:\n") && text.contains("\nnew: '2026-01-01'\n"), "{text}");
    assert!(text.contains("created_at: '2026-11-22T11:34:37.279015+00:00'\n"), "{text}");
    assert!(book.rename("p", "k3v8h", "other").unwrap());
    expected.insert("name".into(), "other".into());
    expected.insert("project_id".into(), "p".into());
    assert_eq!(book.read("k3v8h").unwrap().unwrap(), expected);
}

#[test]
fn one_file_is_enough() {
    let (_dir, book) = scratch();
    std::fs::create_dir_all(book.dir()).unwrap();
    assert_eq!(book.read("k3v8h").unwrap(), None);
    std::fs::write(book.meta_path("k3v8h").unwrap(), "name: old\nmode: cli\n").unwrap();
    assert_eq!(book.read("k3v8h").unwrap().unwrap(), map(json!({"name": "old", "mode": "cli"})));
    std::fs::write(book.dossier_path("k3v8h").unwrap(), r#"{"name": "new"}"#).unwrap();
    assert_eq!(book.read("k3v8h").unwrap().unwrap()["name"], "new");
    std::fs::remove_file(book.meta_path("k3v8h").unwrap()).unwrap();
    assert_eq!(book.read("k3v8h").unwrap().unwrap(), map(json!({"name": "new"})));
    std::fs::write(book.dossier_path("k3v8h").unwrap(), "").unwrap();
    assert_eq!(book.read("k3v8h").unwrap().unwrap(), Meta::new());
}

#[test]
fn handles_are_dossiers() {
    let (_dir, book) = scratch();
    for bad in ["x_meta.yml", "_dossier.json", "x.json"] {
        assert_eq!(of_handle(&book.dir().join(bad)).unwrap_err().code(), "task-handle", "{bad}");
    }
    let (found, task) = of_handle(&book.dossier_path("x").unwrap()).unwrap();
    assert_eq!((found.dir(), task.as_str()), (book.dir(), "x"));
    for bad in ["a/b", "..", "", "../x", ".", "..x", "a\\b"] {
        assert_eq!(book.read(bad).unwrap_err().code(), "task-unsafe-name", "{bad}");
    }
}

#[test]
fn listing_tells_what_it_can_read() {
    let (dir, book) = scratch();
    std::fs::create_dir_all(book.dir()).unwrap();
    let put = |name: &str, text: &str| std::fs::write(book.dir().join(name), text).unwrap();
    put("k1aaa_meta.yml", "mode: cli\nready_at: x\nworksp");
    put("k1aaa_dossier.json", r#"{"name": "half"}"#);
    put("k2aaa_meta.yml", "mode: [cli\n");
    put("k3aaa_meta.yml", "mode: run\nexit_code: 3\ndeleting: true\nweb_port: 5\n");
    put("k3aaa_dossier.json", "{\"na");
    put("k4aaa_dossier.json", r#"{"name": "alone"}"#);
    put("k6aaa_dossier.json", "");
    put("k7aaa_meta.yml", "");
    put("old_meta.yml", "mode: cli\n");
    put("k5aaa_meta.yml.tmp", "mode: cli\n");
    let root = dir.path().join("tasks");
    let listing = list(&book, "p", Some(&root));
    let seen: Vec<_> = listing.rows.iter().map(|r| (r.task_id.as_str(), r.name.as_str(), r.mode.as_deref())).collect();
    let expected = [
        ("k1aaa", "half", Some("cli")),
        ("k3aaa", "", Some("run")),
        ("k4aaa", "alone", None),
        ("k6aaa", "", None),
        ("k7aaa", "", None),
    ];
    assert_eq!(seen, expected);
    assert_eq!(listing.trouble.len(), 3, "{:?}", listing.trouble);
    assert!(listing.rows[0].initialized && listing.rows[1].deleting && listing.rows[1].exit_code == Some(3));
    assert_eq!(listing.rows[2].workspace, root.join("k4aaa").to_str().unwrap());
    assert!(book.read("k2aaa").is_err());
    let file = Book::new(book.meta_path("k1aaa").unwrap());
    assert_eq!((list(&file, "p", None).rows.len(), list(&file, "p", None).trouble.len()), (0, 1));
    assert!(list(&Book::new(root), "p", None).trouble.is_empty());
}

#[test]
fn long_lists_are_whole_and_in_order() {
    let (dir, book) = scratch();
    std::fs::create_dir_all(book.dir()).unwrap();
    let mut ids = Vec::new();
    for number in 0..500 {
        let id = format!("k{}{:03}", number % 10, number);
        let pad = if number == 7 { format!("# {}\n", "x".repeat(9000)) } else { String::new() };
        std::fs::write(book.meta_path(&id).unwrap(), format!("{pad}mode: cli\nexit_code: {number}\n")).unwrap();
        ids.push((id, i64::from(number)));
    }
    ids.sort();
    let listing = list(&book, "p", Some(dir.path()));
    let seen: Vec<_> = listing.rows.iter().map(|row| (row.task_id.clone(), row.exit_code.unwrap())).collect();
    assert_eq!(seen, ids);
    assert!(listing.trouble.is_empty());
}

#[test]
fn what_is_remembered_is_never_older_than_the_files() {
    let (dir, book) = scratch();
    std::fs::create_dir_all(book.dir()).unwrap();
    let path = book.meta_path("k1aaa").unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    let put = |text: &str| {
        // In place, of the same length and with the same time: only the inode's own time tells.
        std::fs::write(&path, text).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
    };
    let seen = || list(&book, "p", Some(dir.path())).rows.into_iter().next().and_then(|row| row.exit_code);
    for number in 0..200 {
        put(&format!("exit_code: {}\n", number % 10));
        assert_eq!((seen(), seen()), (Some(number % 10), Some(number % 10)));
        if number % 100 == 0 {
            std::thread::sleep(std::time::Duration::from_millis(250));
            assert_eq!((seen(), seen()), (Some(0), Some(0)), "remembered now");
        }
    }
    assert!(book.update("k1aaa", &map(json!({"exit_code": 77})), &[]).unwrap());
    assert_eq!(seen(), Some(77));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(seen(), None);
}
