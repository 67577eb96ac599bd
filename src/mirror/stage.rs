//! A stage for tests: an upstream, a mirror of it, and people who push.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fault::MirrorError;
use crate::git::Reach;
use crate::pull::Pulled;
use crate::upstream::Patience;
use crate::{Address, Upstream};

pub(crate) struct Stage {
    dir: tempfile::TempDir,
    pub(crate) mirror: PathBuf,
}

/// A generator of the same surprises for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    pub(crate) fn fork(&mut self) -> Self {
        Self::new(self.below(u64::MAX))
    }
}

/// Commits that people push and that the upstream shows, made once for many stages.
pub(crate) struct Pool {
    _dir: tempfile::TempDir,
    pub(crate) path: PathBuf,
    pub(crate) commits: Vec<String>,
}

impl Pool {
    /// A tree of `count` commits: each continues a random earlier one.
    pub(crate) fn new(count: usize) -> Self {
        let dir = fast_dir();
        let path = dir.path().join("pool.git");
        run(dir.path(), &["init", "-q", "--bare", "pool.git"], "");
        let mut dice = Dice::new(7);
        let mut script = String::new();
        for n in 1..=count {
            script.push_str(&format!(
                "commit refs/pool/{n}\nmark :{n}\ncommitter T <t@example.org> {} +0000\ndata 1\n.\n",
                1000 + n
            ));
            if n > 1 {
                script.push_str(&format!("from :{}\n", 1 + dice.below(n as u64 - 1)));
            }
            script.push_str(&format!("M 644 inline f\ndata {}\n{n}\n", n.to_string().len()));
        }
        run(&path, &["fast-import", "--quiet"], &script);
        let listed = run(&path, &["for-each-ref", "--sort=committerdate", "--format=%(objectname)", "refs/pool"], "");
        Self { _dir: dir, path, commits: listed.lines().map(str::to_owned).collect() }
    }

    /// Lets the stage's upstream have all commits, and no reference yet.
    pub(crate) fn lend(&self, stage: &Stage) {
        let info = stage.path("upstream.git/objects/info");
        std::fs::create_dir_all(&info).unwrap();
        std::fs::write(info.join("alternates"), format!("{}/objects\n", self.path.display())).unwrap();
    }

    /// Moves or removes a reference of the upstream, as a force push there would.
    pub(crate) fn set(&self, stage: &Stage, name: &str, commit: Option<&str>) {
        let file = stage.path("upstream.git/refs").join(name);
        match commit {
            Some(commit) => {
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file.with_extension("new"), format!("{commit}\n")).unwrap();
                std::fs::rename(file.with_extension("new"), file).unwrap();
            }
            None => drop(std::fs::remove_file(file)),
        }
    }
}

fn run(dir: &Path, words: &[&str], input: &str) -> String {
    let all = ["-C".to_owned(), dir.to_string_lossy().into_owned()].into_iter();
    let git = crate::git::Git::new(all.chain(words.iter().map(|word| (*word).to_owned())));
    git.input(input).succeed("make a pool").unwrap().text()
}

/// In memory where that is possible: git waits for the disk at every change of a reference, and some tests make thousands.
fn fast_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

impl Stage {
    pub(crate) fn new() -> Self {
        let dir = fast_dir();
        let stage = Self { mirror: dir.path().join("gate/p.git"), dir };
        stage.git(stage.dir.path(), &["init", "-q", "--bare", "--initial-branch=main", "upstream.git"]);
        stage.git(stage.dir.path(), &["init", "-q", "--initial-branch=main", "work"]);
        stage
    }

    /// A mirror of an upstream whose `main` has two commits.
    pub(crate) fn with_two_commits() -> (Self, String, String) {
        let stage = Self::new();
        let [first, second] = ["1", "2"].map(|content| stage.commit("main", "a", content));
        stage.sync().unwrap();
        (stage, first, second)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn address(&self) -> Upstream {
        let address = Address::parse(&format!("file://{}", self.path("upstream.git").display())).unwrap();
        Upstream { address, reach: Reach::User { personal: false }, patience: Patience::default() }
    }

    /// Creates the mirror when it is not there, and synchronises it.
    pub(crate) fn sync(&self) -> Result<Pulled, MirrorError> {
        self.sync_branches(None)
    }

    pub(crate) fn sync_branches(&self, branches: Option<&[String]>) -> Result<Pulled, MirrorError> {
        let upstream = self.address();
        crate::prepare(&self.mirror, Some(&upstream), None, false, &mut |_| true)?;
        crate::synchronise(&self.mirror, &upstream, branches, &mut |_| true)
    }

    /// Runs git as a person would, and insists on success.
    pub(crate) fn git(&self, dir: &Path, words: &[&str]) -> String {
        let (ok, text) = self.try_git(dir, words);
        assert!(ok, "git {words:?} in {}: {text}", dir.display());
        text
    }

    pub(crate) fn try_git(&self, dir: &Path, words: &[&str]) -> (bool, String) {
        let mut git = Command::new("git");
        for name in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{name}_NAME"), "T").env(format!("GIT_{name}_EMAIL"), "t@example.org");
        }
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env_remove("GIT_DIR");
        let output = git.arg("-C").arg(dir).args(words).output().unwrap();
        let text = if output.status.success() { output.stdout } else { output.stderr };
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    pub(crate) fn upstream(&self, words: &[&str]) -> String {
        self.git(&self.path("upstream.git"), words)
    }

    /// Commits one file on top of the upstream's branch (or as a first commit) and pushes it there; the commit's id.
    pub(crate) fn commit(&self, branch: &str, file: &str, content: &str) -> String {
        let work = self.path("work");
        let name = format!("refs/heads/{branch}");
        let tip = self.try_git(&self.path("upstream.git"), &["rev-parse", "-q", "--verify", &name]);
        self.try_git(&work, &["fetch", "-q", "../upstream.git", "+refs/heads/*:refs/remotes/u/*"]);
        self.git(&work, &["checkout", "-q", "--orphan", "scratch"]);
        self.git(&work, &["rm", "-rfq", "--ignore-unmatch", "."]);
        if tip.0 {
            self.git(&work, &["reset", "-q", "--hard", tip.1.trim()]);
        }
        if work.join(file).parent().is_some_and(Path::is_file) {
            self.git(&work, &["rm", "-rfq", "."]);
        }
        std::fs::create_dir_all(work.join(file).parent().unwrap()).unwrap();
        std::fs::write(work.join(file), content).unwrap();
        self.git(&work, &["add", "-A"]);
        self.git(&work, &["commit", "-q", "-m", &format!("{file} {content}")]);
        self.git(&work, &["push", "-q", "../upstream.git", &format!("HEAD:{name}")]);
        let id = self.git(&work, &["rev-parse", "HEAD"]);
        self.git(&work, &["checkout", "-q", "--detach"]);
        self.git(&work, &["branch", "-q", "-D", "scratch"]);
        id.trim().to_owned()
    }

    /// Commits one file on top of the mirror's `HEAD`, as a container does, and pushes it; the commit's id.
    pub(crate) fn push(&self, branch: &str, file: &str, content: &str) -> String {
        let work = self.path(&format!("agent-{branch}"));
        self.git(&self.path("."), &["clone", "-q", "gate/p.git", &format!("agent-{branch}")]);
        std::fs::write(work.join(file), content).unwrap();
        self.git(&work, &["add", "-A"]);
        self.git(&work, &["commit", "-q", "-m", &format!("{file} {content}")]);
        self.git(&work, &["push", "-q", "origin", &format!("HEAD:refs/heads/{branch}")]);
        self.git(&work, &["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// What a reference of the mirror points to; empty when it is not there.
    pub(crate) fn tip(&self, name: &str) -> String {
        let (ok, text) = self.try_git(&self.mirror, &["rev-parse", "-q", "--verify", name]);
        if ok { text.trim().to_owned() } else { String::new() }
    }
}
