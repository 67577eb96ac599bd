//! Clones and pushes of every kind and size.

use std::io::Read;

use crate::stage::{Stage, TOKEN, noise, ok, path};

const MIB: usize = 1 << 20;

// improves: 22-S1-chunked 22-S2-pipes-together
#[test]
fn a_push_above_the_buffer_of_git_passes_over_both_transports() {
    let stage = Stage::seeded();
    for (number, url) in [stage.url(), stage.bridged()].iter().enumerate() {
        let work = stage.work();
        let tip = stage.commit(&work, &format!("large-{number}"), &noise(number as u64 + 1, 3 * MIB));
        stage.run_at(&work, &["push", "-q", url, "main"]);
        assert_eq!(stage.tip(&stage.repository(), "main"), tip);
        let copy = stage.dir.path().join(format!("copy-{number}"));
        stage.run(&["clone", "-q", url, path(&copy)]);
        assert_eq!(stage.tip(&copy, "HEAD"), tip);
    }
    stage.assert_intact();
}

// improves: 22-S1-chunked
#[test]
fn two_hundred_megabytes_stream_through() {
    let stage = Stage::seeded();
    let work = stage.work();
    for number in 0..4 {
        let name = format!("huge-{number}");
        let mut random = std::fs::File::open("/dev/urandom").unwrap().take(50 * MIB as u64);
        std::io::copy(&mut random, &mut std::fs::File::create(work.join(&name)).unwrap()).unwrap();
        stage.run_at(&work, &["-c", "core.compression=0", "add", &name]);
    }
    stage.run_at(&work, &["commit", "-q", "-m", "huge"]);
    let before = private_kib();
    let child = stage.git(&["-C", path(&work), "-c", "core.compression=0", "push", "-q", &stage.url(), "main"]).spawn();
    let mut child = child.unwrap();
    let mut peak = before;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(private_kib());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(stage.tip(&stage.repository(), "main"), stage.tip(&work, "HEAD"));
    let grown = peak.saturating_sub(before);
    // Other tests of this process may run meanwhile; a body that is kept would show as two hundred thousand.
    assert!(grown < 48 * 1024, "{grown} KiB");
}

fn private_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let lines = text.lines().filter(|l| l.starts_with("Private_"));
    lines.filter_map(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

// improves: 22-S4-limits
#[test]
fn sixteen_clones_at_once_and_a_push_among_them() {
    let limits = gate::Limits { at_work: 3, ..gate::Limits::default() };
    let stage = Stage::seeded_with(limits);
    let work = stage.work();
    stage.commit_and_push(&work, "content", &noise(5, 4 * MIB));
    let clones: Vec<_> = (0..16)
        .map(|number| {
            let url = if number % 2 == 0 { stage.url() } else { stage.bridged() };
            let target = stage.dir.path().join(format!("c{number}"));
            (stage.git(&["clone", "-q", &url, path(&target)]).spawn().unwrap(), target)
        })
        .collect();
    for number in 0..4 {
        stage.commit_and_push(&work, &format!("more-{number}"), &noise(number, MIB));
    }
    for (mut child, target) in clones {
        assert!(child.wait().unwrap().success());
        stage.run_at(&target, &["fsck", "--strict"]);
    }
    stage.assert_intact();
}

#[test]
fn every_protocol_and_every_kind_of_clone() {
    let stage = Stage::seeded();
    let work = stage.work();
    for number in 0..5 {
        stage.commit(&work, "file", &noise(number, 100_000));
    }
    stage.run_at(&work, &["tag", "-a", "v1", "-m", "one"]);
    stage.run_at(&work, &["push", "-q", "origin", "main", "v1"]);
    for version in ["0", "1", "2"] {
        let protocol = format!("protocol.version={version}");
        for (kind, options) in [
            ("whole", &[][..]),
            ("shallow", &["--depth=2"][..]),
            ("partial", &["--filter=blob:none"][..]),
            ("single", &["--branch=v1", "--single-branch", "-c", "advice.detachedHead=false"][..]),
        ] {
            let copy = stage.dir.path().join(format!("{kind}-{version}"));
            let before = ["-c", &protocol, "clone", "-q"];
            stage.run(&[&before[..], options, &[stage.bridged().as_str(), path(&copy)]].concat());
            assert_eq!(stage.tip(&copy, "HEAD"), stage.tip(&work, "HEAD"), "{kind} {version}");
            let count = stage.run_at(&copy, &["rev-list", "--count", "HEAD"]);
            assert_eq!(count.trim(), if kind == "shallow" { "2" } else { "6" }, "{kind} {version}");
            if kind == "shallow" {
                stage.run_at(&copy, &["-c", &protocol, "fetch", "-q", "--unshallow"]);
                assert_eq!(stage.run_at(&copy, &["rev-list", "--count", "HEAD"]).trim(), "6");
            }
            // The content of a partial clone comes when it is looked at.
            stage.run_at(&copy, &["-c", &protocol, "log", "-p", "--stat", "-1"]);
        }
        let copy = stage.dir.path().join(format!("whole-{version}"));
        stage.commit(&copy, &format!("from-{version}"), b"pushed\n");
        stage.run_at(&copy, &["-c", &protocol, "pull", "-q", "--rebase"]);
        stage.run_at(&copy, &["-c", &protocol, "push", "-q", "origin", &format!("HEAD:refs/heads/proto-{version}")]);
        assert_eq!(stage.tip(&stage.repository(), &format!("proto-{version}")), stage.tip(&copy, "HEAD"));
    }
    stage.assert_intact();
}

#[test]
fn a_fetch_with_a_compressed_request() {
    let stage = Stage::seeded();
    let work = stage.work();
    let copy = stage.dir.path().join("copy");
    stage.run(&["clone", "-q", &stage.url(), path(&copy)]);
    // A long list of what the client has makes git compress it.
    for number in 0..120 {
        let text = format!("{number}\n");
        stage.run_at(&copy, &["commit", "-q", "--allow-empty", "-m", &text]);
    }
    let tip = stage.commit_and_push(&work, "news", b"news\n");
    let traced =
        stage.git(&["-C", path(&copy), "fetch", "-q", "origin"]).env("GIT_CURL_VERBOSE", "1").output().unwrap();
    let trace = String::from_utf8_lossy(&traced.stderr).to_ascii_lowercase();
    assert!(trace.contains("content-encoding: gzip"), "git compresses such requests: {trace}");
    ok(traced);
    assert_eq!(stage.tip(&copy, "origin/main"), tip);
}

// improves: 22-S8-wrong-token
#[test]
fn another_token_is_refused_without_a_question() {
    let stage = Stage::seeded();
    let other = stage.url().replace(TOKEN, "terok-g-ffffffffffffffffffffffffffffffff");
    let said = stage.fails_at(&stage.work(), &["ls-remote", &other]);
    assert!(said.contains("403") && !said.contains("Password"), "{said}");
    let said = stage.fails_at(&stage.work(), &["push", &other, "main:x"]);
    assert!(said.contains("403"), "{said}");
    let elsewhere = stage.url().replace("/proj.git", "/other.git");
    assert!(stage.fails_at(&stage.work(), &["ls-remote", &elsewhere]).contains("403"));
}

#[test]
fn an_empty_repository_can_be_cloned_and_filled() {
    let stage = Stage::new();
    let copy = stage.dir.path().join("copy");
    stage.run(&["clone", "-q", &stage.url(), path(&copy)]);
    let tip = stage.commit(&copy, "first", b"first\n");
    stage.run_at(&copy, &["push", "-q", "origin", "HEAD:main"]);
    assert_eq!(stage.tip(&stage.repository(), "main"), tip);
}
