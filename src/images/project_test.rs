//! A project's own layer: texts, hashes, files on disk, the record of a build.

use std::fs;
use std::path::{Path, PathBuf};

use base::fault::{Fault, Kind, explain};
use serde_json::{Value, json};

use crate::bundled_test::catalog;
use crate::project::{self, Hashes, L0_FILE, L1_FILE, L2_FILE, Project};
use crate::{ImageError, layout, manifest};

fn project() -> Project {
    let agents = "claude,gh".to_owned();
    Project { id: "p1".into(), base_image: "debian:13".into(), agents, root: "/nowhere".into(), ..Project::default() }
}

fn with_snippet(root: &Path, file: Option<&str>, inline: Option<&str>) -> Project {
    let snippet_file = file.map(PathBuf::from);
    Project { root: root.into(), snippet_file, snippet_inline: inline.map(str::to_owned), ..project() }
}

// improves: 11-1.7-l2-escape 11-1.7-l2-credentials
#[test]
fn defaults_stay_in_their_quotes() {
    let path = format!("{}/../../tests/fixtures/images/l2_defaults.json", env!("CARGO_MANIFEST_DIR"));
    let table: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    for row in table["rows"].as_array().unwrap() {
        let text = |n: usize| row[n].as_str().map(str::to_owned);
        let (upstream_url, default_branch) = (text(1), text(2));
        let project = Project { security_class: text(0).unwrap(), upstream_url, default_branch, ..project() };
        match (project::l2(&project), row[3].as_str().unwrap()) {
            (Ok(rendered), line) => {
                let found = rendered.lines().find(|l| l.starts_with("ENV CODE_REPO"));
                assert_eq!(found, Some(line), "{row}");
                assert_eq!(rendered.matches("CODE_REPO").count(), 1);
            }
            (Err(fault), key) => {
                assert_eq!(fault.kind(), Kind::Usage);
                assert!(fault.to_string().contains(&format!("`{}`", &key[1..])), "{row}: {fault}");
            }
        }
    }
}

#[test]
fn the_order_of_the_instructions() {
    let inline = Some("RUN echo {{ nothing }} ${HOME}\n# {% raw %}");
    let text = project::l2(&with_snippet(Path::new("/"), None, inline)).unwrap();
    let order = [
        "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n",
        "ENV CODE_REPO=\"",
        "USER root\nENV HOME=/root\n",
        "begin of",
        "RUN echo {{ nothing }} ${HOME}\n# {% raw %}\n",
        "end of",
        "WORKDIR /workspace\nENV HOME=/home/dev\nUSER dev\n",
    ];
    let mut rest = text.as_str();
    for part in order {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} in {rest}"));
        rest = &rest[at + part.len()..];
    }
    assert!(!text.contains("CMD"), "{text}");
}

#[test]
fn the_file_comes_before_the_text() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("extra"), "RUN one\n\n").unwrap();
    let text = project::l2(&with_snippet(root.path(), Some("extra"), Some("RUN two\n"))).unwrap();
    assert!(text.contains("\nRUN one\nRUN two\n"), "{text}");
    let alone = project::l2(&with_snippet(root.path(), Some("extra"), Some(" \n"))).unwrap();
    assert!(alone.contains("\nRUN one\n# -- end"), "{alone}");
}

#[test]
fn a_snippet_that_cannot_be_used_is_the_users_mistake() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    fs::write(path.join("latin"), b"RUN \xe9").unwrap();
    fs::write(path.join("open"), "RUN a \\\n  # note\n\n").unwrap();
    fs::write(path.join("large"), vec![b'#'; (1 << 20) + 1]).unwrap();
    fs::create_dir(path.join("folder")).unwrap();
    for (file, inline, code) in [
        (Some("gone"), None, "snippet-missing"),
        (Some("latin"), None, "snippet-unreadable"),
        (Some("large"), None, "snippet-unreadable"),
        (Some("folder"), None, "snippet-unreadable"),
        (Some("open"), None, "snippet-open"),
        (None, Some("RUN a \\"), "snippet-open"),
    ] {
        let fault = project::l2(&with_snippet(path, file, inline)).unwrap_err();
        assert_eq!((fault.code(), fault.kind()), (code, Kind::Usage));
        assert!(fault.hint().is_some() && fault.to_string().contains("`p1`"), "{fault}");
    }
    let gone = project::l2(&with_snippet(path, Some("gone"), None)).unwrap_err().to_string();
    assert!(gone.contains("not found") && gone.contains(path.join("gone").to_str().unwrap()), "{gone}");
    assert!(project::l2(&with_snippet(path, None, Some("RUN echo a\\\\"))).is_ok());
}

// improves: 11-1.7-own-selection 11-1.9-hash-coverage
#[test]
fn hashes_follow_what_they_stand_for() {
    let catalog = catalog();
    let now = |project: &Project| {
        let rendered = project::rendered(project, &catalog).unwrap();
        project::hashes(&project.base_image, &rendered, &catalog)
    };
    let first = now(&project());
    assert_eq!(first, now(&project()));
    let agents = now(&Project { agents: "claude,codex".into(), ..project() });
    assert!(agents.l0 == first.l0 && agents.l1 != first.l1 && agents.l2 == first.l2);
    let own = now(&Project { snippet_inline: Some("RUN id".into()), ..project() });
    assert!(own.l0 == first.l0 && own.l1 == first.l1 && own.l2 != first.l2);
    let base = now(&Project { base_image: "debian:12".into(), ..project() });
    assert!(base.l0 != first.l0 && base.l2 == first.l2);
    assert!([&agents, &own, &base].iter().all(|h| h.combined != first.combined));
    // The help lines belong to the layer although its text does not contain them.
    let mut other = catalog.clone();
    other.get_mut("gh").unwrap().help_label = "another line".into();
    let rendered = project::rendered(&project(), &catalog).unwrap();
    assert_ne!(project::hashes("debian:13", &rendered, &other).l1, first.l1);
    // The label that a build leaves on a layer is the same value.
    let family = crate::base_image::Family::Deb;
    let built = crate::hash::current("debian:13", family, &catalog, &["claude".to_owned(), "gh".to_owned()]).unwrap();
    assert_eq!((first.l0, first.l1), built);
}

#[test]
fn files_are_replaced_as_a_whole_and_others_stay() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("build/p1");
    let rendered = project::rendered(&project(), &catalog()).unwrap();
    assert_eq!(layout::write("p1", &dir, &rendered).unwrap(), Vec::<String>::new());
    fs::write(dir.join("mine"), "kept").unwrap();
    fs::write(dir.join("scripts/leftover"), "").unwrap();
    fs::create_dir(dir.join(".stage-dead")).unwrap();
    fs::write(dir.join(L2_FILE), "old").unwrap();
    layout::write("p1", &dir, &rendered).unwrap();
    let mut names: Vec<String> =
        fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [".lock", L0_FILE, L1_FILE, L2_FILE, "locks", "mine", "scripts", "tmux", "toad-agents"]);
    assert!(!dir.join("scripts/leftover").exists() && dir.join("scripts/ensure-bridges.sh").exists());
    assert_eq!(fs::read_to_string(dir.join(L2_FILE)).unwrap(), rendered[L2_FILE]);
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let fault = layout::write("p1", &file, &rendered).unwrap_err();
    assert!(explain(&fault).contains("hint: move away the file"), "{}", explain(&fault));
}

// improves: 11-1.7-stage-race
#[test]
fn writers_take_turns_and_readers_find_everything() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("p1");
    let rendered = project::rendered(&project(), &catalog()).unwrap();
    layout::write("p1", &dir, &rendered).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| (0..8).all(|_| layout::write("p1", &dir, &rendered).unwrap().is_empty())))
            .collect();
        let reader = scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                assert!(dir.join("scripts/ensure-bridges.sh").exists());
                assert_eq!(fs::read_to_string(dir.join(L2_FILE)).unwrap(), rendered[L2_FILE]);
            }
        });
        assert!(writers.into_iter().all(|writer| writer.join().unwrap()));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        reader.join().unwrap();
    });
}

// improves: 11-1.8-damaged-manifest
#[test]
fn what_a_damaged_record_means() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("p1").join(manifest::FILE);
    let now = Hashes::of("a".into(), "b".into(), "c".into());
    let hash = |text: &str| json!({"tag": "t", "content_hash": text});
    let good = json!({"schema": 1, "l0": hash("a"), "l1": hash("b"), "l2_cli": hash("c")});
    manifest::write(&path, &good).unwrap();
    assert!(fs::read_to_string(&path).unwrap().ends_with("\n}\n"));
    assert_eq!(manifest::read(&path), Some(good.clone()));
    assert!(manifest::stale(&now, Some(&good)).is_empty());
    assert_eq!(manifest::stale(&now, None), ["l0", "l1", "l2"]);
    for (key, value) in [("l1", hash("x")), ("l1", json!("b")), ("l1", json!({"content_hash": 7})), ("l1", json!(null))]
    {
        let mut other = good.clone();
        other[key] = value;
        assert_eq!(manifest::stale(&now, Some(&other)), ["l1"], "{other}");
    }
    for text in ["", "{", "[1]", "7", r#"{"schema": 999}"#, r#"{"schema": "1"}"#, "{}"] {
        fs::write(&path, text).unwrap();
        assert_eq!(manifest::read(&path), None, "{text}");
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let fault = manifest::write(&path, &good).unwrap_err();
    assert!(fault.to_string().starts_with("the images are built"), "{fault}");
}

#[test]
fn a_failed_write_says_what_to_do() {
    use std::io::{Error, ErrorKind};
    for (kind, hint) in [
        (ErrorKind::StorageFull, Some("make room")),
        (ErrorKind::QuotaExceeded, Some("make room")),
        (ErrorKind::PermissionDenied, Some("paths.build_dir")),
        (ErrorKind::ReadOnlyFilesystem, Some("paths.build_dir")),
        (ErrorKind::Interrupted, None),
    ] {
        let path = PathBuf::from("/b/p1");
        let files = ImageError::ProjectFiles { project: "p1".into(), path: path.clone(), source: Error::from(kind) };
        let record = ImageError::Manifest { path, source: Error::from(kind) };
        for fault in [files, record] {
            let found = fault.hint();
            assert_eq!(found.is_some(), hint.is_some(), "{kind}");
            assert!(found.unwrap_or_default().contains(hint.unwrap_or_default()), "{kind}");
            assert_eq!(fault.kind(), Kind::Usage);
        }
    }
}
