//! The private git directory against a real git: what a container can read and write, and what comes back.
//!
//! A directory with a link stands in for the container's mounts: git works in it as it does in the container.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bring::Forward;
use crate::source::{self, Kind};
use crate::{Mount, Outcome, Request, bring, prepare, report, store};

struct Site {
    root: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { root: tempfile::tempdir().unwrap() };
        std::fs::create_dir(site.path("repo")).unwrap();
        std::fs::create_dir(site.path("state")).unwrap();
        site
    }

    /// A site with one commit of `a` on `main`.
    fn with_commit() -> Self {
        let site = Self::new();
        site.git("repo", &["init", "-q", "-b", "main", "."]);
        site.commit("repo", "a", "1\n");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().canonicalize().unwrap().join(name)
    }

    fn run(&self, folder: &Path, words: &[&str], more: &[(&str, &Path)]) -> (bool, String) {
        let mut command = Command::new("git");
        command.current_dir(folder).args(words).env("HOME", self.path("home")).env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "T").env(format!("GIT_{who}_EMAIL"), "t@example.org");
        }
        let output = command.envs(more.iter().copied()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }

    fn git(&self, folder: &str, words: &[&str]) -> String {
        let (ok, text) = self.run(&self.path(folder), words, &[]);
        assert!(ok, "git {words:?}: {text}");
        text.trim().to_owned()
    }

    fn commit(&self, folder: &str, file: &str, content: &str) {
        std::fs::write(self.path(folder).join(file), content).unwrap();
        self.git(folder, &["add", "-A"]);
        self.git(folder, &["commit", "-q", "-m", file]);
    }

    fn prepare(&self, folder: &str, branch_only: bool) -> Vec<Mount> {
        let (state_dir, folder) = (self.path("state"), self.path(folder));
        let request =
            Request { state_dir: &state_dir, container: "c1", run: "r1", folder: &folder, others: &[], branch_only };
        let mounts = prepare(&request).unwrap();
        // The numbers stand for mounts; outside of the container they are the host's directories.
        let alternates = self.private().join("objects/info/alternates");
        let objects =
            mounts.iter().filter(|m| m.container_path.starts_with("/run/terok-objects/") && m.host_path.is_dir());
        let text: String = objects.map(|mount| format!("{}\n", mount.host_path.display())).collect();
        std::fs::write(alternates, text).unwrap();
        mounts
    }

    fn private(&self) -> PathBuf {
        self.path("state/workspaces/c1/git")
    }

    /// Git as the container runs it.
    fn inside(&self, folder: &str, words: &[&str]) -> String {
        let (private, folder) = (self.private(), self.path(folder));
        let (ok, text) = self.run(&folder, words, &[("GIT_DIR", &private), ("GIT_WORK_TREE", &folder)]);
        assert!(ok, "git {words:?}: {text}");
        text.trim().to_owned()
    }

    fn work(&self, folder: &str, file: &str, content: &str) -> String {
        std::fs::write(self.path(folder).join(file), content).unwrap();
        self.inside(folder, &["add", "-A"]);
        self.inside(folder, &["commit", "-q", "-m", file]);
        self.inside(folder, &["rev-parse", "HEAD"])
    }

    fn bring(&self) -> Option<Outcome> {
        bring(&self.path("state"), "c1").unwrap()
    }
}

#[test]
fn commits_come_back_and_the_branch_follows() {
    let site = Site::with_commit();
    site.prepare("repo", false);
    assert_eq!(site.inside("repo", &["status", "--porcelain", "-b"]), "## main");
    let id = site.work("repo", "b", "2\n");
    site.work("repo", "a", "changed\n");
    let outcome = site.bring().unwrap();
    assert_eq!(outcome.forward, Some(Forward::Moved("main".into())));
    assert_eq!((outcome.arrivals[0].branch.as_str(), outcome.arrivals[0].commits), ("terok/r1", Some(2)));
    assert_eq!(site.git("repo", &["status", "--porcelain", "-b"]), "## main");
    assert_eq!(site.git("repo", &["rev-parse", "main~1", "terok/r1~1"]), format!("{id}\n{id}"));
    assert!(site.git("repo", &["reflog", "-1", "main"]).contains("terok: fast-forward"));
    assert_eq!(site.bring(), None, "nothing is brought twice");
    site.work("repo", "c", "3\n");
    assert_eq!(site.bring().unwrap().forward, Some(Forward::Moved("main".into())), "a restarted container goes on");
    assert_eq!(site.git("repo", &["status", "--porcelain"]), "");
    store::remove(&site.path("state"), "c1", Some("another")).unwrap();
    assert!(site.private().exists(), "the workspace of another run stays");
    store::remove(&site.path("state"), "c1", Some("r1")).unwrap();
    assert!(!site.private().exists());
    site.git("repo", &["fsck", "--strict"]);
}

// holds: own-git-directory-stays-outside
#[test]
fn the_private_configuration_has_no_credentials_and_no_programs() {
    let site = Site::with_commit();
    for (key, value) in [
        ("remote.origin.url", "https://me:ghp_secret@example.org/x.git"),
        ("http.https://example.org.extraheader", "Authorization: ghp_secret"),
        ("credential.helper", "!echo ghp_secret"),
        ("core.fsmonitor", "touch ran"),
        ("filter.f.clean", "touch ran"),
        ("user.email", "ada@example.org"),
    ] {
        site.git("repo", &["config", key, value]);
    }
    site.prepare("repo", false);
    let text = std::fs::read_to_string(site.private().join("config")).unwrap();
    assert!(!text.contains("ghp_secret") && !text.contains("touch"), "{text}");
    assert_eq!(site.inside("repo", &["config", "remote.origin.url"]), "https://example.org/x.git");
    assert_eq!(site.inside("repo", &["config", "user.email"]), "ada@example.org");
}

// holds: own-git-directory-stays-outside
#[test]
fn what_a_container_writes_into_its_git_directory_runs_nothing_and_reaches_nothing() {
    let site = Site::with_commit();
    site.git("repo", &["init", "-q", "../other"]);
    site.commit("other", "secret", "s3cret\n");
    let secret = site.git("other", &["rev-parse", "HEAD"]);
    site.prepare("repo", false);
    site.work("repo", "b", "2\n");
    let ran = site.path("ran");
    let touch = format!("touch {}", ran.display());
    for key in ["core.fsmonitor", "core.sshCommand", "uploadpack.packObjectsHook", "diff.external", "gpg.program"] {
        site.inside("repo", &["config", key, &touch]);
    }
    let hooks = site.private().join("hooks");
    std::fs::create_dir_all(&hooks).unwrap();
    for name in ["reference-transaction", "post-merge", "pre-receive", "post-checkout", "update"] {
        std::fs::write(hooks.join(name), format!("#!/bin/sh\n{touch}\n")).unwrap();
        std::fs::set_permissions(hooks.join(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    // Objects of another repository of the user, named by an alternate, by a link, and by a pack index.
    let other = site.path("other/.git/objects");
    std::fs::write(site.private().join("objects/info/alternates"), format!("{}\n", other.display())).unwrap();
    std::fs::write(site.private().join("refs/heads/stolen"), format!("{secret}\n")).unwrap();
    let fault = bring(&site.path("state"), "c1").unwrap_err();
    assert!(fault.to_string().contains("cannot read the container's commits"), "{fault}");
    std::fs::remove_file(site.private().join("refs/heads/stolen")).unwrap();
    let (fan, rest) = secret.split_at(2);
    let _ = std::fs::create_dir(site.private().join("objects").join(fan));
    let link = site.private().join("objects").join(fan).join(rest);
    std::os::unix::fs::symlink(other.join(fan).join(rest), link).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", site.private().join("refs/heads/link")).unwrap();
    assert_eq!(site.bring().unwrap().forward, Some(Forward::Moved("main".into())));
    assert!(!ran.exists());
    let (found, _) = site.run(&site.path("repo"), &["cat-file", "-e", &secret], &[]);
    assert!(!found, "objects of other repositories stay where they are");
}

// holds: own-git-directory-stays-outside
#[test]
fn objects_that_git_would_stumble_over_are_refused() {
    let site = Site::with_commit();
    site.prepare("repo", false);
    std::fs::write(site.path("entry"), "").unwrap();
    let blob = site.inside("repo", &["hash-object", "-w", "--", &site.path("entry").display().to_string()]);
    let mut raw = b"100644 .git\0".to_vec();
    raw.extend((0..20).map(|n| u8::from_str_radix(&blob[2 * n..2 * n + 2], 16).unwrap()));
    std::fs::write(site.path("tree"), raw).unwrap();
    let file = site.path("tree").display().to_string();
    let tree = site.inside("repo", &["hash-object", "-w", "--literally", "-t", "tree", "--", &file]);
    let commit = site.inside("repo", &["commit-tree", "-m", "evil", &tree]);
    std::fs::write(site.private().join("refs/heads/main"), format!("{commit}\n")).unwrap();
    let fault = bring(&site.path("state"), "c1").unwrap_err();
    assert!(fault.to_string().contains("cannot bring the container's commits back"), "{fault}");
    assert_eq!(site.git("repo", &["branch", "--format=%(refname)"]), "refs/heads/main");
}

#[test]
fn a_branch_that_moved_or_is_not_wanted_stays() {
    let site = Site::with_commit();
    site.prepare("repo", true);
    site.work("repo", "b", "2\n");
    assert_eq!(site.bring().unwrap().forward, Some(Forward::Stays("only a branch was asked for")));
    site.prepare("repo", false);
    site.work("repo", "c", "2\n");
    site.git("repo", &["commit", "-q", "--allow-empty", "-m", "mine"]);
    let mine = site.git("repo", &["rev-parse", "main"]);
    let outcome = site.bring().unwrap();
    assert_eq!(outcome.forward, Some(Forward::Stays("it moved during the run")));
    assert_eq!(site.git("repo", &["rev-parse", "main"]), mine);
    let text = report::text(&outcome);
    assert!(text.contains("core.fsmonitor=false") && text.contains("merge it:"), "{text}");
}

#[test]
fn staged_changes_survive_or_keep_the_branch_in_place() {
    let site = Site::with_commit();
    std::fs::write(site.path("repo/staged"), "s\n").unwrap();
    site.git("repo", &["add", "staged"]);
    site.prepare("repo", false);
    assert_eq!(site.inside("repo", &["status", "--porcelain"]), "A  staged", "the container sees the user's index");
    std::fs::write(site.path("repo/b"), "2\n").unwrap();
    site.inside("repo", &["add", "b"]);
    site.inside("repo", &["commit", "-q", "-m", "b", "--", "b"]);
    assert_eq!(site.bring().unwrap().forward, Some(Forward::Moved("main".into())));
    assert_eq!(site.git("repo", &["status", "--porcelain"]), "A  staged");
    site.work("repo", "staged", "other\n");
    assert!(matches!(site.bring().unwrap().forward, Some(Forward::Stays(_))));
    assert!(!site.path("repo/.git/index.lock").exists() && !site.path("repo/.git/index.terok").exists());
}

#[test]
fn other_branches_come_back_under_names_of_their_own() {
    let site = Site::with_commit();
    site.prepare("repo", false);
    site.inside("repo", &["checkout", "-q", "-b", "feature/x"]);
    site.work("repo", "x", "1\n");
    site.inside("repo", &["checkout", "-q", "-b", "fix", "main"]);
    site.work("repo", "y", "1\n");
    let outcome = site.bring().unwrap();
    let names: Vec<_> = outcome.arrivals.iter().map(|arrival| arrival.branch.as_str()).collect();
    assert_eq!((names, outcome.forward), (vec!["terok/r1", "terok/r1--feature/x"], None));
    assert_eq!(site.git("repo", &["log", "-1", "--format=%s", "terok/r1"]), "y");
}

#[test]
fn a_repository_without_commits_gets_its_first() {
    let site = Site::new();
    site.git("repo", &["init", "-q", "-b", "trunk", "."]);
    site.prepare("repo", false);
    site.work("repo", "a", "1\n");
    assert_eq!(site.bring().unwrap().forward, Some(Forward::Moved("trunk".into())));
    assert_eq!(site.git("repo", &["status", "--porcelain", "-b"]), "## trunk");
}

#[test]
fn linked_worktrees_and_submodules_are_covered() {
    let site = Site::with_commit();
    site.git("repo", &["worktree", "add", "-q", "-b", "side", "../tree"]);
    let mounts = site.prepare("tree", false);
    assert!(mounts.iter().any(|m| m.container_path == "/workspace/.git" && m.read_only && m.host_path.is_file()));
    assert!(mounts.iter().any(|m| m.container_path == "/run/terok-git" && !m.read_only));
    site.work("tree", "b", "2\n");
    assert_eq!(site.bring().unwrap().forward, Some(Forward::Moved("side".into())));
    assert_eq!(site.git("tree", &["status", "--porcelain"]), "");
    assert_eq!(site.git("repo", &["status", "--porcelain"]), "");

    let url = site.path("repo").display().to_string();
    site.git("repo", &["init", "-q", "../super"]);
    site.git("super", &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &url, "sub"]);
    assert_eq!(source::inspect(&site.path("super/sub")).unwrap().kind, Kind::Link);
    site.prepare("super/sub", false);
    site.work("super/sub", "b", "3\n");
    assert_eq!(site.bring().unwrap().forward, Some(Forward::Moved("main".into())));
    assert_eq!(site.git("super/sub", &["status", "--porcelain"]), "");
}

#[test]
fn a_directory_without_repository_gets_one_for_the_run() {
    let site = Site::new();
    let mounts = site.prepare("repo", false);
    assert_eq!(mounts.len(), 1);
    assert!(site.path("repo/.git").is_dir());
    site.work("repo", "a", "1\n");
    assert!(site.bring().unwrap().unkept);
    store::remove(&site.path("state"), "c1", None).unwrap();
    assert!(!site.path("repo/.git").exists(), "the empty mount point is removed");
}

// holds: own-git-directory-stays-outside
#[test]
fn directories_that_cannot_be_protected_are_refused() {
    let site = Site::with_commit();
    site.git("repo", &["clone", "-q", "--bare", ".", "../bare"]);
    std::fs::create_dir_all(site.path("linked")).unwrap();
    std::os::unix::fs::symlink(site.path("repo/.git"), site.path("linked/.git")).unwrap();
    std::fs::create_dir_all(site.path("lost")).unwrap();
    std::fs::write(site.path("lost/.git"), "gitdir: /nonexistent\n").unwrap();
    for (folder, why) in [
        ("bare", "without a working tree"),
        ("repo/.git/info", "without a working tree"),
        ("linked", "symbolic link"),
        ("lost", "does not name a git directory"),
    ] {
        let fault = source::inspect(&site.path(folder)).unwrap_err();
        assert!(fault.to_string().contains(why), "{folder}: {fault}");
    }
    // An alternate that names keys would be mounted.
    std::fs::create_dir_all(site.path("keys")).unwrap();
    std::fs::write(site.path("keys/id_ed25519"), "").unwrap();
    std::fs::write(site.path("repo/.git/objects/info/alternates"), site.path("keys").display().to_string()).unwrap();
    assert!(source::inspect(&site.path("repo")).unwrap_err().to_string().contains("not a directory of git objects"));
    std::fs::remove_file(site.path("repo/.git/objects/info/alternates")).unwrap();
    let (state_dir, folder, others) = (site.path("state"), site.path("repo"), [site.path("")]);
    let request = Request {
        state_dir: &state_dir,
        container: "c1",
        run: "r",
        folder: &folder,
        others: &others,
        branch_only: false,
    };
    assert!(prepare(&request).unwrap_err().to_string().contains("as well"));
}

#[test]
fn alternates_of_the_user_are_chained() {
    let site = Site::with_commit();
    site.git("repo", &["clone", "-q", "--shared", ".", "../second"]);
    let mounts = site.prepare("second", false);
    let inside: Vec<_> = mounts.iter().map(|mount| mount.container_path.as_str()).collect();
    let expected =
        ["/workspace/.git", "/run/terok-objects/0", "/run/terok-objects/0/info/alternates", "/run/terok-objects/1"];
    assert_eq!(inside, expected);
    site.work("second", "b", "2\n");
    assert_eq!(site.bring().unwrap().forward, Some(Forward::Moved("main".into())));
}
