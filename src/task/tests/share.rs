//! Files in a directory that a container can write into.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use base::fault::Fault;
use serde_json::Value;

use crate::{deliver, work};

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("agent-config")).unwrap();
    std::fs::write(dir.path().join("host"), "host\n").unwrap();
    dir
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

// improves: 31-8.4-no-links
#[test]
fn nothing_is_written_through_what_a_container_planted() {
    let dir = folder();
    let (shared, host) = (dir.path().join("agent-config"), dir.path().join("host"));
    for name in ["toad.token", "prompt.txt", "prompt-history.txt", "work-status.yml", "pending-phase.yml"] {
        symlink(&host, shared.join(name)).unwrap();
    }
    deliver::token(&shared, "t0ken").unwrap();
    deliver::prompt(&shared, "one").unwrap();
    deliver::prompt(&shared, "two\n").unwrap();
    deliver::prompt(&shared, "three").unwrap();
    work::write_status(&shared, Some("coding"), None).unwrap();
    work::write_phase(&shared, "next", "").unwrap();
    assert_eq!(text(&host), "host\n");
    assert_eq!(text(&shared.join("toad.token")), "t0ken");
    let token = shared.join("toad.token").symlink_metadata().unwrap();
    assert!(token.is_file() && token.permissions().mode() & 0o777 == 0o600);
    assert_eq!(text(&shared.join("prompt.txt")), "three");
    assert_eq!(text(&shared.join("prompt-history.txt")), "one\n\n---\n\ntwo\n\n\n---\n\n");
    std::fs::remove_file(shared.join("toad.token")).unwrap();
    std::fs::hard_link(&host, shared.join("toad.token")).unwrap();
    deliver::token(&shared, "second").unwrap();
    assert_eq!(text(&host), "host\n");
    assert_eq!(text(&shared.join("toad.token")), "second");
    let left = std::fs::read_dir(&shared).unwrap().count();
    assert_eq!(left, 5, "no temporary file is left");
}

#[test]
fn a_planted_directory_is_refused() {
    let dir = folder();
    symlink(dir.path().join("agent-config"), dir.path().join("link")).unwrap();
    let link = dir.path().join("link");
    assert_eq!(deliver::token(&link, "t").unwrap_err().code(), "task-file");
    assert!(deliver::prompt(&link, "t").is_err() && work::write_status(&link, Some("x"), None).is_err());
    assert_eq!(std::fs::read_dir(dir.path().join("agent-config")).unwrap().count(), 0);
    assert_eq!(work::read_status(&link).0, work::Status::default());
}

// improves: 30-8.5-status-links 30-8.5-status-size 30-8.5-clean-status
#[test]
fn what_an_agent_says_is_limited_and_clean() {
    let dir = folder();
    let shared = dir.path().join("agent-config");
    let table: Value = serde_json::from_str(include_str!("../../../tests/fixtures/task/work_status.json")).unwrap();
    for row in table["status"].as_array().unwrap() {
        std::fs::write(shared.join("work-status.yml"), row["text"].as_str().unwrap()).unwrap();
        let (said, trouble) = work::read_status(&shared);
        assert_eq!(
            (said.status.as_deref(), said.message.as_deref()),
            (row["status"].as_str(), row["message"].as_str()),
            "{row}"
        );
        assert_eq!(trouble.is_some(), row["trouble"] == true, "{row}");
        assert_eq!(work::Root::open(dir.path()).unwrap().status("."), said, "{row}");
    }
    for row in table["phase"].as_array().unwrap() {
        std::fs::write(shared.join("pending-phase.yml"), row["text"].as_str().unwrap()).unwrap();
        let found = work::read_phase(&shared);
        let expected = row["phase"].as_str().map(|phase| (phase, row["prompt"].as_str().unwrap()));
        assert_eq!(found.as_ref().map(|f| (f.phase.as_str(), f.prompt.as_str())), expected, "{row}");
    }
    std::fs::write(shared.join("work-status.yml"), b"\xff\xfe").unwrap();
    assert_eq!(work::read_status(&shared).0, work::Status::default());
    std::fs::write(shared.join("work-status.yml"), "a".repeat(100_000)).unwrap();
    assert_eq!(work::read_status(&shared).0, work::Status::default());
    std::fs::remove_file(shared.join("work-status.yml")).unwrap();
    std::fs::write(dir.path().join("host"), "status: leaked\n").unwrap();
    symlink(dir.path().join("host"), shared.join("work-status.yml")).unwrap();
    assert_eq!(work::read_status(&shared).0, work::Status::default());
    std::fs::remove_file(shared.join("work-status.yml")).unwrap();
    std::fs::create_dir(shared.join("work-status.yml")).unwrap();
    assert_eq!(work::read_status(&shared).0, work::Status::default());
}

#[test]
fn what_was_written_reads_back_and_can_be_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("new/agent-config");
    work::write_status(&shared, Some("coding"), Some("yes: #1\nline")).unwrap();
    let said = work::read_status(&shared).0;
    assert_eq!((said.status.as_deref(), said.message.as_deref()), (Some("coding"), Some("yes: #1 line")));
    work::write_status(&shared, None, None).unwrap();
    work::write_status(&shared, None, None).unwrap();
    work::write_phase(&shared, "review", "line\n  two").unwrap();
    let found = work::read_phase(&shared).unwrap();
    assert_eq!((found.phase.as_str(), found.prompt.as_str()), ("review", "line\n  two"));
    work::clear_phase(&shared).unwrap();
    work::clear_phase(&shared).unwrap();
    work::clear_phase(&dir.path().join("none")).unwrap();
    assert_eq!(std::fs::read_dir(&shared).unwrap().count(), 0);
    assert_eq!(work::write_status(&shared, Some(""), None).unwrap_err().code(), "task-text");
    assert_eq!(work::write_phase(&shared, " ", "").unwrap_err().code(), "task-text");
}
