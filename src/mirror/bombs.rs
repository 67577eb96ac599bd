//! Attacks of containers and upstreams that make the host's git work without end: they are refused and cost little.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cache;
use crate::fault::MirrorError;
use crate::stage::Stage;

/// Calls git with this standard input; its answer.
fn ask(repository: &Path, words: &[&str], input: &str) -> String {
    let mut git = Command::new("git");
    git.arg("-C").arg(repository).args(["-c", "user.name=t", "-c", "user.email=t@localhost"]).args(words);
    let mut git = git.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    git.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = git.wait_with_output().unwrap();
    assert!(output.status.success(), "git {words:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Ten objects that stand for 10^8 files.
fn plant_trees(repository: &Path, branch: &str) {
    let ten = |kind: &str, id: &str| (0..10).map(|n| format!("{kind} {id}\t{n}\n")).collect::<String>();
    let leaf = ask(repository, &["hash-object", "-w", "--stdin"], "x");
    let mut tree = ask(repository, &["mktree"], &ten("100644 blob", &leaf));
    for _ in 0..7 {
        tree = ask(repository, &["mktree"], &ten("040000 tree", &tree));
    }
    let commit = ask(repository, &["commit-tree", "-m", "bomb", &tree], "");
    ask(repository, &["update-ref", &format!("refs/heads/{branch}"), &commit], "");
}

// holds: checkout-is-counted
#[test]
fn a_tree_of_a_hundred_million_files_is_not_checked_out() {
    let stage = Stage::new();
    stage.commit("main", "a", "1");
    plant_trees(&stage.path("upstream.git"), "main");
    stage.sync().unwrap();
    let began = Instant::now();
    let refused = cache::refresh(&stage.mirror, &stage.path("cache/p"), &mut |_| true);
    assert!(matches!(refused, Err(MirrorError::TooMuch { .. })), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(60) && !stage.path("cache/p").exists());
}

// holds: cache-holds-only-the-upstream
#[test]
fn what_a_container_pushed_is_not_in_the_cache() {
    let stage = Stage::new();
    stage.commit("main", "a", "1");
    stage.sync().unwrap();
    let cache = stage.path("cache/p");
    cache::refresh(&stage.mirror, &cache, &mut |_| true).unwrap();
    // An earlier version took what containers pushed; that goes, too.
    let pushed = stage.push("main", "theirs", "2");
    stage.git(&cache, &["fetch", "-q", "origin", "+refs/heads/*:refs/remotes/origin/*"]);
    assert_eq!(stage.git(&cache, &["rev-parse", "origin/main"]).trim(), pushed);
    plant_trees(&stage.mirror, "bomb");
    stage.git(&stage.mirror, &["update-ref", "refs/heads/main", "refs/heads/bomb"]);
    stage.sync().unwrap();
    cache::refresh(&stage.mirror, &cache, &mut |_| true).unwrap();
    assert_eq!(
        stage.git(&cache, &["rev-parse", "HEAD", "origin/main"]),
        stage.upstream(&["rev-parse", "main"]).repeat(2)
    );
    assert_eq!(stage.git(&cache, &["for-each-ref", "--format=%(refname)", "refs/remotes"]).lines().count(), 2);
    assert!(!cache.join("theirs").exists() && cache.join("a").is_file());
}
