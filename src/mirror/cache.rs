//! The clone cache: a working tree that new workspaces are copied from.
//!
//! Invariants: nothing of the checked-out content runs (no hooks, filters, submodules, large-file smudging, nor any of
//! the user's configuration); it holds what the upstream has, and nothing that only containers pushed; files are counted
//! before they are checked out; it can be thrown away at any time, and is when it does not work; a new one appears
//! complete.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::census;
use crate::fault::{MirrorError, io};
use crate::git::{self, Git};
use crate::hold::{self, Listener, sibling};

const FETCH: Duration = Duration::from_secs(300);
const CHECKOUT: Duration = Duration::from_secs(120);

/// Brings the cache to the state of the mirror.
///
/// # Errors
/// [`MirrorError`]; a cache that was there may be gone, never half new.
pub fn refresh(mirror: &Path, cache: &Path, listener: Listener<'_>) -> Result<(), MirrorError> {
    let parent = cache.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(io("create", parent))?;
    let _lock = hold::hold(cache, listener)?;
    let source = source(mirror);
    if is_checkout(cache) {
        match update(mirror, cache, &source) {
            Ok(()) => return Ok(()),
            Err(error) => tracing::warn!(cache = %cache.display(), "made anew: {}", base::fault::explain(&error)),
        }
    }
    let young = sibling(cache, "new");
    discard(&young)?;
    let made = build(mirror, &young, &source);
    if let Err(error) = made {
        let _ = fs::remove_dir_all(&young);
        return Err(error);
    }
    discard(cache)?;
    fs::rename(&young, cache).map_err(io("create", cache))
}

fn source(mirror: &Path) -> OsString {
    let path = fs::canonicalize(mirror).unwrap_or_else(|_| mirror.to_owned());
    let mut source = OsString::from("file://");
    source.push(path);
    source
}

/// True for a directory with a repository of its own; a link is none.
fn is_checkout(cache: &Path) -> bool {
    let plain = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    plain(cache) && plain(&cache.join(".git"))
}

fn discard(path: &Path) -> Result<(), MirrorError> {
    match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).map_err(io("remove", path)),
        Ok(_) => fs::remove_file(path).map_err(io("remove", path)),
    }
}

fn build(mirror: &Path, young: &Path, source: &OsString) -> Result<(), MirrorError> {
    let mut words: Vec<OsString> = ["init", "--quiet", "--template=", "--"].map(Into::into).into();
    words.push(young.into());
    Git::new(words).succeed("make the cache")?;
    let fetch = ["config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"];
    within(young, fetch).succeed("configure the cache")?;
    update(mirror, young, source)
}

/// References that the cache takes: the upstream's branches and tags, and nothing that containers pushed. The names that containers
/// are not offered (see [`crate::refs::offered`]) stay away as far as a pattern can say it.
const SEED: &[&str] = &[
    "+refs/terok/upstream/heads/*:refs/remotes/origin/*",
    "^refs/terok/upstream/heads/HEAD",
    "^refs/terok/upstream/heads/-*",
    "+refs/terok/upstream/tags/*:refs/tags/*",
];

fn update(mirror: &Path, cache: &Path, source: &OsString) -> Result<(), MirrorError> {
    let mut words: Vec<OsString> = ["config", "--replace-all", "remote.origin.url"].map(Into::into).into();
    words.push(source.clone());
    within(cache, words).succeed("configure the cache")?;
    let serve = git::upload_pack(&[("uploadpack.hideRefs", "!refs/terok/upstream")]);
    let fetch =
        ["fetch", "--quiet", "--prune", "--force", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"];
    let fetch = fetch.into_iter().chain(["--upload-pack", &serve, "origin"]).chain(SEED.iter().copied());
    within(cache, fetch).for_mirror(mirror).limit(FETCH).succeed("fetch from the mirror")?;
    check_out(mirror, cache)
}

/// Checks the mirror's branch out; a mirror without one has nothing to check out.
fn check_out(mirror: &Path, cache: &Path) -> Result<(), MirrorError> {
    let head = Git::at(mirror, ["symbolic-ref", "--quiet", "HEAD"]).run()?.text();
    let Some(branch) = head.trim().strip_prefix(crate::refs::HEADS).filter(|branch| crate::refs::is_branch(branch))
    else {
        return Ok(());
    };
    let remote = format!("refs/remotes/origin/{branch}");
    let Some(tip) = tip(cache, &remote)? else { return Ok(()) };
    if checked_out(cache)?.as_ref() != Some(&tip) {
        census::check(&cache.join(".git"), &tip)?;
    }
    within(cache, ["symbolic-ref", "refs/remotes/origin/HEAD", &remote]).succeed("follow the mirror's branch")?;
    // Leftovers go first: one of them may have the name of a directory that is wanted now.
    let local = format!("{}{branch}", crate::refs::HEADS);
    within(cache, ["update-ref", "--no-deref", &local, &remote]).succeed("follow the mirror's branch")?;
    within(cache, ["symbolic-ref", "HEAD", &local]).succeed("follow the mirror's branch")?;
    let track = [(format!("branch.{branch}.remote"), "origin".to_owned()), (format!("branch.{branch}.merge"), local)];
    for (key, value) in track {
        within(cache, ["config", &key, &value]).succeed("configure the cache")?;
    }
    within(cache, ["reset", "--quiet", "--hard"]).limit(CHECKOUT).succeed("check out the cache")?;
    within(cache, ["clean", "--quiet", "-ffdx"]).limit(CHECKOUT).succeed("clean the cache").map(drop)
}

/// The commit that a name stands for in the cache.
fn tip(cache: &Path, name: &str) -> Result<Option<String>, MirrorError> {
    let output = within(cache, ["rev-parse", "--quiet", "--verify", "--end-of-options", name]).run()?;
    Ok(output.ok().then(|| output.text().trim().to_owned()))
}

/// The commit that is checked out, and has been counted therefore.
fn checked_out(cache: &Path) -> Result<Option<String>, MirrorError> {
    if cache.join(".git/index").is_file() { tip(cache, "HEAD") } else { Ok(None) }
}

fn within<S: AsRef<std::ffi::OsStr>>(cache: &Path, words: impl IntoIterator<Item = S>) -> Git {
    let mut all: Vec<OsString> = vec!["-C".into(), cache.into(), "--git-dir=.git".into(), "--work-tree=.".into()];
    all.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
    Git::new(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::Stage;

    fn refreshed(stage: &Stage) -> std::path::PathBuf {
        let cache = stage.path("cache/p");
        refresh(&stage.mirror, &cache, &mut |_| true).unwrap();
        cache
    }

    // improves: 22-M10-cache-head
    #[test]
    fn the_cache_follows_the_mirrors_branch_and_an_empty_one_is_fine() {
        let stage = Stage::new();
        stage.sync().unwrap();
        let cache = refreshed(&stage);
        assert!(cache.join(".git").is_dir(), "an empty upstream is no error");
        stage.commit("main", "a", "1");
        stage.sync().unwrap();
        refreshed(&stage);
        assert_eq!(fs::read_to_string(cache.join("a")).unwrap(), "1");
        stage.commit("next", "a/b", "2");
        stage.upstream(&["symbolic-ref", "HEAD", "refs/heads/next"]);
        stage.sync().unwrap();
        fs::write(cache.join("rubbish"), "").unwrap();
        refreshed(&stage);
        assert_eq!(fs::read_to_string(cache.join("a/b")).unwrap(), "2");
        assert!(!cache.join("rubbish").exists());
        assert_eq!(stage.git(&cache, &["symbolic-ref", "refs/remotes/origin/HEAD"]).trim(), "refs/remotes/origin/next");
        assert_eq!(stage.git(&cache, &["status", "--porcelain", "--branch"]).trim(), "## next...origin/next");
    }

    #[test]
    fn a_broken_cache_is_made_anew() {
        let stage = Stage::new();
        stage.commit("main", "a", "1");
        stage.sync().unwrap();
        let cache = refreshed(&stage);
        fs::remove_dir_all(cache.join(".git/objects")).unwrap();
        refreshed(&stage);
        assert_eq!(stage.git(&cache, &["log", "--format=%s"]).trim(), "a 1");
        fs::remove_dir_all(&cache).unwrap();
        std::os::unix::fs::symlink(stage.path("elsewhere"), &cache).unwrap();
        refreshed(&stage);
        assert!(cache.join("a").is_file() && !stage.path("elsewhere").exists(), "a link is replaced, not followed");
    }

    // improves: 22-M9-checkout-inert
    #[test]
    fn nothing_of_the_content_runs() {
        let stage = Stage::new();
        let witness = stage.path("ran");
        let touch = format!("touch {}", witness.display());
        let attributes = "* filter=evil diff=evil merge=evil\n";
        stage.commit("main", ".gitattributes", attributes);
        stage.commit("main", ".lfsconfig", "[lfs]\n\turl = http://127.0.0.1:1/\n");
        stage.commit(
            "main",
            ".gitmodules",
            "[submodule \"s\"]\n\tpath = s\n\turl = ext::sh -c touch% ran\n\tupdate = !touch ran\n",
        );
        stage.commit("main", "hooks/post-checkout", &format!("#!/bin/sh\n{touch}\n"));
        let home = stage.path("home");
        fs::create_dir_all(home.join("template/hooks")).unwrap();
        fs::write(home.join("template/hooks/post-checkout"), format!("#!/bin/sh\n{touch}\n")).unwrap();
        let config = format!(
            "[filter \"evil\"]\n\tsmudge = {touch}\n\tclean = {touch}\n\trequired = true\n[core]\n\tfsmonitor = {touch}\n\thooksPath = hooks\n\
             [init]\n\ttemplateDir = {0}/template\n",
            home.display()
        );
        fs::write(home.join(".gitconfig"), config).unwrap();
        stage.sync().unwrap();
        let cache = stage.path("cache/p");
        let young = |reach| {
            Git::new(["config", "--get", "filter.evil.smudge"]).reach(reach).variable("HOME", home.to_string_lossy())
        };
        assert!(young(&crate::git::Reach::User { personal: false }).run().unwrap().ok(), "the trap is set");
        assert!(!young(&crate::git::Reach::Local).run().unwrap().ok(), "and not seen");
        refresh(&stage.mirror, &cache, &mut |_| true).unwrap();
        // A hook in the cache itself, as if somebody had put it there.
        fs::create_dir_all(cache.join(".git/hooks")).unwrap();
        fs::copy(home.join("template/hooks/post-checkout"), cache.join(".git/hooks/post-checkout")).unwrap();
        stage.commit("main", "b", "2");
        stage.sync().unwrap();
        refresh(&stage.mirror, &cache, &mut |_| true).unwrap();
        assert!(cache.join("b").is_file() && !witness.exists());
    }
}
