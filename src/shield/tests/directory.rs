//! The state directory: hostile places, the policy from its files, verdicts that stay, the audit log.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use terok_shield_policy::audit::{self, AuditLine};
use terok_shield_policy::directory::{StateDirectory, file, short_id};
use terok_shield_policy::{Entry, Name, NameVerdict, ShieldError};

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shield");
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    (dir, path)
}

fn refusal(path: &Path) -> String {
    StateDirectory::open(path).unwrap_err().to_string()
}

// holds: firewall-hostile-directory
#[test]
fn directory_is_refused_when_it_is_not_private_and_ours() {
    let (dir, path) = scratch();
    assert!(StateDirectory::open(&path).is_ok());
    assert!(refusal(Path::new("relative")).contains("absolute"));
    assert!(refusal(&path.join("../shield")).contains("absolute"));
    assert!(refusal(&path.join("missing")).contains("does not exist"));
    assert!(refusal(Path::new("/etc")).contains("system"));
    assert!(refusal(Path::new("/usr/share")).contains("system"));
    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(refusal(&link).contains("link"));
    let to_system = dir.path().join("system");
    symlink("/etc", &to_system).unwrap();
    assert!(refusal(&to_system).contains("system"));
    let plain = dir.path().join("file");
    std::fs::write(&plain, "").unwrap();
    assert!(refusal(&plain).contains("no directory"));
    for mode in [0o770, 0o707, 0o777] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert!(refusal(&path).contains("others may write"), "{mode:o}");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(StateDirectory::open(&path).is_ok());
    if base::user::effective_uid() == 0 {
        std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
        assert!(refusal(&path).contains("another user"));
    }
}

#[test]
fn policy_comes_from_the_files_of_earlier_versions_too() {
    let (_dir, path) = scratch();
    for (name, text) in [
        ("profile.domains", "GitHub.com\nnot valid\n@pypi\n*.example.org\nshared.test\n"),
        ("live.domains", "live.test\n"),
        ("denied.domains", "bad.test\nshared.test\n"),
        ("profile.allowed", "198.51.100.7\n10.0.0.5/8\n203.0.113.9\n"),
        ("live.allowed", "2001:db8::1\n"),
        ("deny.list", "10.0.0.0/8\n192.0.2.1\n203.0.113.77\n"),
        ("provenance.json", r#"{"203.0.113.9": "github.com", "203.0.113.77": "bad.test"}"#),
        ("symbols.json", r#"{"pypi": ["index.example.net", "10.0.0.1"]}"#),
        ("loopback.ports", "9418\nx\n0\n"),
        ("published.ports", "tcp 3000\nudp 53\nsctp 1\ntcp 3000\n"),
        ("container.id", "0123456789ab\n"),
        ("settings.json", r#"{"upload_limit_mib": 0}"#),
    ] {
        std::fs::write(path.join(name), text).unwrap();
    }
    let directory = StateDirectory::open(&path).unwrap();
    let (policy, errors) = directory.policy().unwrap();
    let texts = |entries: &[terok_shield_policy::RangeEntry]| {
        entries.iter().map(|entry| entry.range.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(texts(&policy.allowed), ["198.51.100.7", "2001:db8::1"]);
    assert_eq!(texts(&policy.denied), ["10.0.0.0/8", "192.0.2.1"]);
    let names: Vec<_> = policy.allowed_names.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["github.com", "index.example.net", "example.org", "live.test"]);
    assert_eq!((errors.len(), policy.services.len(), policy.published.len()), (1, 3, 2));
    assert_eq!((policy.container.as_str(), policy.budget), ("0123456789ab", None));
    assert!(matches!(policy.judge_name(&Name::parse("x.bad.test").unwrap()), NameVerdict::Denied(_)));
}

// holds: firewall-damaged-policy
#[test]
fn policy_is_refused_when_a_file_is_damaged_or_a_link() {
    let (dir, path) = scratch();
    let directory = StateDirectory::open(&path).unwrap();
    std::fs::write(path.join("provenance.json"), "{").unwrap();
    assert!(matches!(directory.policy(), Err(ShieldError::File { verb: "read", .. })));
    std::fs::remove_file(path.join("provenance.json")).unwrap();
    let outside = dir.path().join("outside");
    std::fs::write(&outside, "10.0.0.0/8\n").unwrap();
    symlink(&outside, path.join("live.allowed")).unwrap();
    assert!(directory.policy().is_err());
    std::fs::remove_file(path.join("live.allowed")).unwrap();
    std::fs::write(path.join("live.allowed"), vec![b'1'; 5 * 1024 * 1024]).unwrap();
    assert!(directory.policy().is_err());
}

#[test]
fn verdict_moves_a_target_from_one_list_to_the_other_for_good() {
    let (_dir, path) = scratch();
    let directory = StateDirectory::open(&path).unwrap();
    let read = |name: &str| std::fs::read_to_string(path.join(name)).unwrap_or_default();
    for (text, open, closed) in
        [("Example.com", file::LIVE_DOMAINS, file::DENIED_DOMAINS), ("10.0.0.5/8", file::LIVE_ALLOWED, file::DENY_LIST)]
    {
        let entry = Entry::parse(text).unwrap();
        std::fs::write(path.join(closed), format!("other.test\n{entry}\n# note\n")).unwrap();
        assert!(directory.record(&entry, true).unwrap());
        assert!(!directory.record(&entry, true).unwrap(), "a second time changes nothing");
        assert_eq!((read(open), read(closed)), (format!("{entry}\n"), "other.test\n# note\n".to_owned()));
        assert!(directory.record(&entry, false).unwrap());
        assert_eq!((read(open).as_str(), read(closed)), ("", format!("other.test\n# note\n{entry}\n")));
        let mode = std::fs::metadata(path.join(open)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert!(directory.record(&Entry::parse("@pypi").unwrap(), true).is_err());
    let names = std::fs::read_dir(&path).unwrap().count();
    assert_eq!(names, 5, "no temporary file is left");
}

#[test]
fn verdicts_at_once_lose_none() {
    let (_dir, path) = scratch();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let path = &path;
            scope.spawn(move || {
                let directory = StateDirectory::open(path).unwrap();
                for n in 0..20 {
                    directory.record(&Entry::parse(&format!("h{n}.w{worker}.test")).unwrap(), true).unwrap();
                }
            });
        }
    });
    assert_eq!(std::fs::read_to_string(path.join(file::LIVE_DOMAINS)).unwrap().lines().count(), 80);
}

#[test]
fn obsolete_files_go_and_nothing_else() {
    let (_dir, path) = scratch();
    for name in ["dnsmasq.pid", "dnsmasq.log", "reader.pid", "dns.tier"] {
        std::fs::write(path.join(name), "1").unwrap();
    }
    StateDirectory::open(&path).unwrap().remove_obsolete();
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
}

#[test]
fn audit_keeps_the_newest_lines_and_cleans_what_a_container_says() {
    let (dir, path) = scratch();
    let directory = StateDirectory::open(&path).unwrap();
    let mut line = AuditLine::new("0123456789ab", "blocked");
    (line.dest, line.port, line.proto) = ("a\nb\u{1b}[31m".into(), Some(443), "tcp".into());
    audit::append(&directory, line).unwrap();
    let text = std::fs::read_to_string(path.join(audit::FILE)).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains(r#""dest":"a b\\x1b[31m","port":443,"proto":"tcp"}"#), "{text}");
    for round in 0..3 {
        std::fs::write(path.join(audit::FILE), vec![b'x'; 8 * 1024 * 1024 + 1]).unwrap();
        for n in 0..3 {
            let line = AuditLine { dest: format!("{round}.{n}"), ..AuditLine::new("c", "allowed") };
            audit::append(&directory, line).unwrap();
        }
    }
    let sizes: u64 = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(sizes < 9 * 1024 * 1024, "{sizes}");
    let last: Vec<String> = audit::tail(&path, 2).into_iter().map(|line| line.dest).collect();
    assert_eq!(last, ["2.1", "2.2"]);
    assert!(audit::tail(&path, 0).is_empty() && audit::tail(dir.path(), 5).is_empty());
    std::fs::remove_file(path.join(audit::FILE)).unwrap();
    symlink(dir.path().join("victim"), path.join(audit::FILE)).unwrap();
    assert!(audit::append(&directory, AuditLine::new("c", "x")).is_err());
    assert!(!dir.path().join("victim").exists());
}

#[test]
fn container_id_is_checked_and_cut() {
    assert_eq!(short_id(&"0123456789abcdef".repeat(4)).unwrap(), "0123456789ab");
    for bad in ["", "0123456789a", "0123456789ag", "../../../../../", &"a".repeat(65)] {
        assert!(short_id(bad).is_err(), "{bad}");
    }
}
