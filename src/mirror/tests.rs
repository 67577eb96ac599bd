//! Synchronisation, step by step: what moves, what stays, what is kept.

use std::fs;
use std::time::{Duration, Instant};

use base::process::RunError;

use crate::git::Reach;
use crate::refs::{self, Reference};
use crate::stage::Stage;
use crate::upstream::Patience;
use crate::{Address, MirrorError, Upstream, backup, follow, hold, ledger, state};

fn names(stage: &Stage, prefix: &str) -> Vec<String> {
    let found = ledger::read(&stage.mirror, &[prefix]).unwrap();
    found.into_iter().map(|r| format!("{} {}", r.shown(), &r.id)).collect()
}

// improves: 22-M1-agent-refs-kept
#[test]
fn what_an_agent_pushed_survives_a_sync() {
    let stage = Stage::new();
    let first = stage.commit("main", "a", "1");
    stage.sync().unwrap();
    let work = stage.path("agent");
    stage.git(&stage.path("."), &["clone", "-q", "gate/p.git", "agent"]);
    stage.git(&work, &["commit", "-q", "--allow-empty", "-m", "mine"]);
    stage.git(&work, &["push", "-q", "origin", "HEAD:main", "HEAD:feature", "HEAD:refs/tags/mine"]);
    let mine = stage.git(&work, &["rev-parse", "HEAD"]);
    let report = stage.sync().unwrap();
    assert!(report.updated.is_empty() && report.left.is_empty(), "the agent is ahead: {report:?}");
    for name in ["refs/heads/main", "refs/heads/feature", "refs/tags/mine"] {
        assert_eq!(stage.tip(name), mine.trim(), "{name}");
    }
    assert_eq!(stage.tip("refs/terok/upstream/heads/main"), first);
    let second = stage.commit("main", "a", "2");
    let report = stage.sync().unwrap();
    assert_eq!(report.left, [("refs/heads/main".to_owned(), "it has commits that the upstream has not")]);
    assert_eq!(stage.tip("refs/heads/main"), mine.trim());
    assert_eq!(stage.tip("refs/terok/upstream/heads/main"), second);
}

#[test]
fn a_rewound_or_deleted_branch_stays_and_can_be_followed() {
    let (stage, first, second) = Stage::with_two_commits();
    let other = stage.commit("other", "b", "1");
    stage.sync().unwrap();
    assert_eq!((stage.tip("refs/heads/main"), stage.tip("refs/heads/other")), (second.clone(), other.clone()));
    stage.upstream(&["update-ref", "refs/heads/main", &first]);
    stage.upstream(&["update-ref", "-d", "refs/heads/other"]);
    stage.sync().unwrap();
    assert_eq!((stage.tip("refs/heads/main"), stage.tip("refs/heads/other")), (second.clone(), other.clone()));
    assert_eq!(names(&stage, "refs/terok/upstream"), [format!("refs/terok/upstream/heads/main {first}")]);
    assert!(matches!(follow(&stage.mirror, &["nothing".into()]), Err(MirrorError::Branch(_))));
    follow(&stage.mirror, &["main".into()]).unwrap();
    assert_eq!(stage.tip("refs/heads/main"), first);
    let kept = backup::list(&stage.mirror, None).unwrap();
    assert_eq!(kept.iter().map(|k| (k.name.as_str(), k.id.as_str())).collect::<Vec<_>>(), [("main", second.as_str())]);
    assert_eq!(kept[0].subject, "a 2");
    assert!(matches!(backup::restore(&stage.mirror, "main", "ffff", "x"), Err(MirrorError::NothingKept { .. })));
    assert_eq!(backup::restore(&stage.mirror, "main", &second[..8], "again").unwrap(), second);
    assert_eq!(stage.tip("refs/heads/again"), second);
}

#[test]
fn what_only_the_upstream_had_is_kept_when_it_goes() {
    let (stage, first, second) = Stage::with_two_commits();
    // An agent rewinds the branch here, then the upstream does: nothing but the private namespace names the commit.
    let tip = Reference::new("refs/heads/main", second.clone());
    backup::keep(&stage.mirror, std::slice::from_ref(&tip)).unwrap();
    let mut change = ledger::Transaction::default();
    change.advance(b"refs/heads/main", &first, &second);
    change.delete(&refs::backup(&tip.name, &second), &second);
    change.commit(&stage.mirror, "test").unwrap();
    stage.upstream(&["tag", "-a", "-m", "t", "v1", "main"]);
    stage.upstream(&["update-ref", "refs/heads/main", &first]);
    let report = stage.sync().unwrap();
    assert_eq!(report.kept, [format!("refs/terok/backup/terok/upstream/heads/main/{second}")]);
    let tag = stage.tip("refs/terok/upstream/tags/v1");
    assert_eq!(stage.tip("refs/tags/v1"), tag);
    stage.git(&stage.mirror, &["update-ref", "-d", "refs/tags/v1"]);
    stage.upstream(&["tag", "-d", "v1"]);
    stage.sync().unwrap();
    let kept = backup::list(&stage.mirror, Some("terok/upstream/tags/v1")).unwrap();
    assert_eq!(kept.len(), 1, "the tag object is no part of the commit");
    assert_eq!(kept[0].id, tag);
}

// improves: 22-1.5-branches-restrict
#[test]
fn only_the_branches_asked_for_move() {
    let stage = Stage::new();
    stage.commit("main", "a", "1");
    stage.commit("next", "b", "1");
    stage.sync().unwrap();
    let (old, new) = (stage.tip("refs/heads/next"), stage.commit("main", "a", "2"));
    let next = stage.commit("next", "b", "2");
    stage.commit("third", "c", "1");
    stage.sync_branches(Some(&["main".into()])).unwrap();
    assert_eq!((stage.tip("refs/heads/main"), stage.tip("refs/heads/next")), (new, old));
    assert_eq!(stage.tip("refs/heads/third"), "");
    stage.sync().unwrap();
    assert_eq!(stage.tip("refs/heads/next"), next);
}

#[test]
fn tags_are_only_added() {
    let stage = Stage::new();
    let first = stage.commit("main", "a", "1");
    stage.upstream(&["tag", "v1", &first]);
    stage.sync().unwrap();
    let second = stage.commit("main", "a", "2");
    stage.upstream(&["tag", "-f", "v1", &second]);
    stage.upstream(&["tag", "v2", &second]);
    let report = stage.sync().unwrap();
    assert_eq!((stage.tip("refs/tags/v1"), stage.tip("refs/tags/v2")), (first, second.clone()));
    assert_eq!(stage.tip("refs/terok/upstream/tags/v1"), second);
    assert_eq!(report.left.len(), 1);
}

#[test]
fn head_follows_the_upstream() {
    let stage = Stage::new();
    stage.commit("main", "a", "1");
    stage.commit("next", "a", "1");
    stage.sync().unwrap();
    let head = || stage.git(&stage.mirror, &["symbolic-ref", "HEAD"]);
    assert_eq!(head().trim(), "refs/heads/main");
    stage.upstream(&["symbolic-ref", "HEAD", "refs/heads/next"]);
    stage.sync().unwrap();
    assert_eq!(head().trim(), "refs/heads/next");
    stage.upstream(&["update-ref", "--no-deref", "HEAD", "refs/heads/main"]);
    stage.sync().unwrap();
    assert_eq!(head().trim(), "refs/heads/next", "a detached head says nothing");
}

#[test]
fn names_in_each_others_way_and_odd_names() {
    let stage = Stage::new();
    let id = stage.commit("main", "a", "1");
    stage.commit("x/y", "a", "1");
    stage.sync().unwrap();
    stage.upstream(&["update-ref", "-d", "refs/heads/x/y"]);
    for name in [
        "refs/heads/x",
        "refs/heads/-option",
        "refs/heads/ü\u{301}",
        "refs/heads/HEAD",
        "refs/heads/ok",
        "refs/pull/1/head",
    ] {
        stage.upstream(&["update-ref", name, &id]);
    }
    let raw = stage
        .path("upstream.git/refs/heads")
        .join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"by\xfftes"));
    fs::write(raw, format!("{id}\n")).unwrap();
    let report = stage.sync().unwrap();
    let left: Vec<&str> = report.left.iter().map(|(_, why)| *why).collect();
    assert_eq!(left.iter().filter(|why| why.contains("in its way")).count(), 1, "{report:?}");
    assert_eq!(left.iter().filter(|why| why.contains("not offered")).count(), 2, "{report:?}");
    let heads = ledger::read(&stage.mirror, &["refs/heads"]).unwrap();
    let heads: Vec<_> = heads.iter().map(|head| head.name.as_slice()).collect();
    let wanted: [&[u8]; 5] = [
        b"refs/heads/by\xfftes",
        b"refs/heads/main",
        b"refs/heads/ok",
        b"refs/heads/u\xcc\x88\xcc\x81",
        b"refs/heads/x/y",
    ];
    let composed: &[u8] = "refs/heads/ü\u{301}".as_bytes();
    for name in [wanted[0], wanted[1], wanted[2], composed, wanted[4]] {
        assert!(heads.contains(&name), "{:?}", String::from_utf8_lossy(name));
    }
    assert_eq!(heads.len(), 5);
}

#[test]
fn containers_see_branches_and_tags_only_and_cannot_rewind_unkept() {
    let (stage, first, _) = Stage::with_two_commits();
    let listed = stage.git(&stage.path("."), &["ls-remote", "gate/p.git"]);
    assert!(listed.contains("refs/heads/main") && !listed.contains("terok"), "{listed}");
    let work = stage.path("work");
    for refused in [format!("+{first}:refs/heads/main"), ":refs/heads/main".into(), format!("{first}:refs/terok/x")] {
        assert!(!stage.try_git(&work, &["push", "-q", "../gate/p.git", &refused]).0, "{refused}");
    }
}

// improves: 22-M2-reinit-keeps
#[test]
fn starting_anew_moves_the_old_mirror_aside() {
    let stage = Stage::new();
    stage.commit("main", "a", "1");
    stage.sync().unwrap();
    let work = stage.path("work");
    stage.git(&work, &["commit", "-q", "--allow-empty", "-m", "mine"]);
    stage.git(&work, &["push", "-q", "../gate/p.git", "HEAD:refs/heads/mine"]);
    let mine = stage.git(&work, &["rev-parse", "HEAD"]);
    for _ in 0..2 {
        let prepared = crate::prepare(&stage.mirror, Some(&stage.address()), None, true, &mut |_| true).unwrap();
        let aside = prepared.moved_aside.unwrap();
        assert!(
            prepared.created && aside.file_name().unwrap().to_str().unwrap().starts_with("p.git.before-2"),
            "{aside:?}"
        );
        assert_eq!(stage.tip("refs/heads/mine"), "");
    }
    let found = fs::read_dir(stage.path("gate")).unwrap().flatten().any(|entry| {
        let (ok, id) = stage.try_git(&entry.path(), &["rev-parse", "refs/heads/mine"]);
        entry.path().is_dir() && ok && id == mine
    });
    assert!(found);
}

// improves: 22-M3-clone-whole
#[test]
fn a_mirror_is_whole_or_not_there() {
    let stage = Stage::new();
    stage.commit("main", "a", "1");
    let mut asked = 0;
    // Given up at the first moment, as if interrupted.
    let failed = crate::prepare(&stage.mirror, Some(&stage.address()), None, false, &mut |_| {
        asked += 1;
        false
    });
    assert!(failed.is_err() && asked > 0 && !stage.mirror.exists());
    assert_eq!(fs::read_dir(stage.path("gate")).unwrap().flatten().filter(|e| e.path().is_dir()).count(), 0);
    fs::create_dir_all(stage.path("gate/.p.git.new-dead/objects")).unwrap();
    fs::create_dir_all(stage.mirror.join("objects")).unwrap();
    let prepared = crate::prepare(&stage.mirror, Some(&stage.address()), None, false, &mut |_| true).unwrap();
    assert!(prepared.created && prepared.moved_aside.is_some(), "half a repository is none");
    assert!(!stage.path("gate/.p.git.new-dead").exists());
    let foreign = stage.path("gate/q.git");
    fs::create_dir_all(foreign.join("photos")).unwrap();
    let refused = crate::prepare(&foreign, Some(&stage.address()), None, false, &mut |_| true);
    assert!(matches!(refused, Err(MirrorError::NotMirror(_))), "{refused:?}");
}

// improves: 22-M4-mirror-lock
#[test]
fn two_syncs_at_once_and_one_that_waits_in_vain() {
    let stage = Stage::new();
    stage.commit("main", "a", "1");
    std::thread::scope(|scope| {
        let syncs: Vec<_> = (0..6).map(|_| scope.spawn(|| stage.sync())).collect();
        syncs.into_iter().for_each(|sync| drop(sync.join().unwrap().unwrap()));
    });
    let held = hold::hold(&stage.mirror, &mut |_| true).unwrap();
    let mut patience = 3;
    let refused = crate::synchronise(&stage.mirror, &stage.address(), None, &mut |_| {
        patience -= 1;
        patience > 0
    });
    assert!(matches!(refused, Err(MirrorError::Busy(_))), "{refused:?}");
    drop(held);
    stage.sync().unwrap();
}

// improves: 22-M5-clone-bounded
#[test]
fn an_upstream_that_says_nothing_is_given_up() {
    let stage = Stage::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::parse(&format!("git://127.0.0.1:{}/x", listener.local_addr().unwrap().port())).unwrap();
    let patience = Patience { listing: Duration::from_millis(300), ..Patience::default() };
    let upstream = Upstream { address, reach: Reach::User { personal: false }, patience };
    let started = Instant::now();
    let failed = crate::prepare(&stage.mirror, Some(&upstream), None, false, &mut |_| true).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(20));
    let text = base::fault::explain(&failed);
    assert!(text.contains("git clone --mirror failed") && text.contains("did not finish"), "{text}");
    assert!(!stage.mirror.exists());
    let slow = MirrorError::Run(RunError::TimedOut { program: "git".into(), seconds: 1.0 });
    assert_eq!(crate::error_text(&slow), "Sync timed out");
}

#[test]
fn a_mirror_of_the_original_is_taken_over() {
    let stage = Stage::new();
    let first = stage.commit("main", "a", "1");
    stage.commit("gone", "b", "1");
    stage.upstream(&["update-ref", "refs/pull/1/head", &first]);
    fs::create_dir_all(stage.path("gate")).unwrap();
    stage.git(&stage.path("."), &["clone", "-q", "--mirror", "upstream.git", "gate/p.git"]);
    let work = stage.path("work");
    stage.git(&work, &["commit", "-q", "--allow-empty", "-m", "mine"]);
    stage.git(&work, &["push", "-q", "../gate/p.git", "HEAD:refs/heads/feature"]);
    let before = names(&stage, "refs/");
    assert_eq!(before.len(), 4);
    stage.upstream(&["update-ref", "-d", "refs/heads/gone"]);
    stage.sync().unwrap();
    let after = names(&stage, "refs/");
    assert!(before.iter().all(|name| after.contains(name)), "{before:?} {after:?}");
    // Even the original's own way of synchronising does no harm any more.
    stage.git(&stage.mirror, &["remote", "update", "--prune"]);
    assert!(before.iter().all(|name| names(&stage, "refs/").contains(name)));
    let config = stage.git(&stage.mirror, &["config", "--list", "--local"]);
    assert!(!config.contains("remote.origin.mirror") && !config.contains("+refs/*:refs/*"), "{config}");
}

#[test]
fn mirrors_without_an_upstream() {
    let stage = Stage::new();
    let prepare = |force| crate::prepare(&stage.mirror, None, Some("trunk"), force, &mut |_| true).unwrap().created;
    assert!(prepare(false) && !prepare(false) && prepare(true));
    assert_eq!(stage.git(&stage.mirror, &["symbolic-ref", "HEAD"]).trim(), "refs/heads/trunk");
    assert_eq!(state::last_commit(&stage.mirror, None), None);
    stage.commit("main", "a", "1");
    stage.git(&stage.path("work"), &["push", "-q", "../gate/p.git", "HEAD:refs/heads/only"]);
    assert!(!prepare(false));
    assert_eq!(stage.git(&stage.mirror, &["symbolic-ref", "HEAD"]).trim(), "refs/heads/only");
}

#[test]
fn nothing_is_ever_collected() {
    let (stage, first, second) = Stage::with_two_commits();
    stage.git(&stage.mirror, &["update-ref", "refs/heads/main", &first]);
    stage.upstream(&["update-ref", "refs/heads/main", &first]);
    stage.git(&stage.mirror, &["update-ref", "-d", "refs/terok/upstream/heads/main"]);
    stage.git(&stage.mirror, &["gc", "-q"]);
    stage.git(&stage.mirror, &["repack", "--geometric=2", "-d", "-q"]);
    assert_eq!(stage.git(&stage.mirror, &["cat-file", "-t", &second]).trim(), "commit");
}

#[test]
fn facts_of_a_mirror() {
    let stage = Stage::new();
    assert_eq!(state::last_commit(&stage.mirror, Some("main")), None);
    let first = stage.commit("main", "a", "1");
    let second = stage.commit("main", "a", "2");
    stage.sync().unwrap();
    let commit = state::last_commit(&stage.mirror, Some("main")).unwrap();
    assert_eq!((commit.hash.as_str(), commit.author.as_str(), commit.subject.as_str()), (second.as_str(), "T", "a 2"));
    assert_eq!(state::last_commit(&stage.mirror, Some("nothing")).unwrap().hash, second);
    assert!(matches!(state::head(&stage.mirror, "--help"), Err(MirrorError::Branch(_))));
    assert_eq!(state::head(&stage.mirror, "main").unwrap(), Some(second.clone()));
    assert_eq!(
        (state::distance(&stage.mirror, &first, &second), state::distance(&stage.mirror, &second, &first)),
        (Some(1), Some(0))
    );
    assert_eq!(state::distance(&stage.mirror, &first, &"9".repeat(40)), None);
}

#[test]
fn locks_of_killed_processes_do_not_stop_a_sync() {
    let stage = Stage::new();
    stage.commit("main", "a", "1");
    stage.sync().unwrap();
    let new = stage.commit("main", "a", "2");
    let locks = [
        "refs/heads/main.lock",
        "refs/terok/upstream/heads/main.lock",
        "packed-refs.lock",
        "packed-refs.new",
        "config.lock",
    ];
    for lock in locks {
        fs::create_dir_all(stage.mirror.join(lock).parent().unwrap()).unwrap();
        fs::write(stage.mirror.join(lock), "").unwrap();
    }
    assert_eq!(stage.sync().unwrap().freed.len(), locks.len());
    assert_eq!(stage.tip("refs/heads/main"), new);
}
