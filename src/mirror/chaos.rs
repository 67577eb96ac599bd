//! Random lives of a mirror: whatever the order of pushes, synchronisations and the upstream's moods, nothing that was
//! pushed is ever lost, and the upstream's state is told exactly.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::refs::{self, Reference};
use crate::stage::{Dice, Pool, Stage};
use crate::{backup, config, follow, ledger};

const SEEDS: u64 = 120;
const STEPS: u64 = 9;
const NAMES: [&str; 5] = ["heads/main", "heads/b", "heads/b2/x", "tags/t", "tags/u"];

struct Life<'a> {
    stage: Stage,
    pool: &'a Pool,
    pushed: Mutex<HashSet<String>>,
}

impl Life<'_> {
    /// As the HTTP service does it: keep, let git move, let go what is held again.
    fn push(&self, name: &str, target: Option<&str>, force: bool) {
        let full = format!("refs/{name}");
        let old = ledger::tip(&self.stage.mirror, &full).unwrap();
        let kept: Vec<Reference> = old.iter().map(|old| Reference::new(full.as_bytes(), old.clone())).collect();
        let mut words = vec!["push".to_owned(), "-q".to_owned()];
        if force {
            backup::keep(&self.stage.mirror, &kept).unwrap();
            let settings: Vec<String> = config::AFTER_KEEPING.iter().map(|(k, v)| format!("-c {k}={v}")).collect();
            words.push(format!("--receive-pack=git {} receive-pack", settings.join(" ")));
            words.push(format!("--force-with-lease={full}:{}", old.as_deref().unwrap_or_default()));
        }
        words.push(self.stage.mirror.to_string_lossy().into_owned());
        words.push(format!("{}:{full}", target.unwrap_or_default()));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (done, _) = self.stage.try_git(&self.pool.path, &words);
        if let (true, Some(target)) = (done, target) {
            self.pushed.lock().unwrap().insert(target.to_owned());
        }
        if force {
            backup::relax(&self.stage.mirror, &kept).unwrap();
        }
    }

    fn sync(&self, dice: &mut Dice) {
        let some = [dice.pick(&NAMES[..3]).trim_start_matches("heads/").to_owned()];
        let branches = (dice.below(4) == 0).then_some(some.as_slice());
        self.stage.sync_branches(branches).unwrap();
        for tip in ledger::read(&self.stage.mirror, &[refs::UPSTREAM]).unwrap() {
            self.pushed.lock().unwrap().insert(tip.id);
        }
    }

    fn step(&self, dice: &mut Dice) {
        let (name, commit) = (*dice.pick(&NAMES), dice.pick(&self.pool.commits).clone());
        match dice.below(12) {
            0..=2 => self.push(name, Some(&commit), true),
            3 => self.push(name, Some(&commit), false),
            4 => self.push(name, None, true),
            5..=7 => self.pool.set(&self.stage, name, dice.below(4).checked_sub(1).map(|_| commit.as_str())),
            8 => {
                self.stage.try_git(&self.stage.mirror, &["gc", "-q"]);
            }
            9 => {
                let _ = follow(&self.stage.mirror, &[name.trim_start_matches("heads/").to_owned()]);
            }
            10 if dice.below(4) == 0 => {
                crate::prepare(&self.stage.mirror, Some(&self.stage.address()), None, true, &mut |_| true).unwrap();
            }
            10 => std::thread::scope(|scope| {
                let mut other = dice.fork();
                scope.spawn(move || self.sync(&mut other));
                self.push(name, Some(&commit), dice.below(2) == 0);
            }),
            _ => self.sync(dice),
        }
    }

    /// Everything that some reference of the mirror, or of one that was moved aside, holds.
    fn reachable(&self) -> HashSet<String> {
        let gate = self.stage.mirror.parent().unwrap();
        let mirrors = fs::read_dir(gate).unwrap().flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
        let commits = |mirror: PathBuf| self.stage.git(&mirror, &["rev-list", "--all"]);
        mirrors.flat_map(|mirror| commits(mirror).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

fn live(seed: u64, pool: &Pool) {
    let life = Life { stage: Stage::new(), pool, pushed: Mutex::default() };
    let mut dice = Dice::new(seed);
    pool.lend(&life.stage);
    pool.set(&life.stage, "heads/main", Some(&pool.commits[0]));
    life.stage.sync().unwrap();
    for _ in 0..STEPS {
        life.step(&mut dice);
    }
    life.stage.sync().unwrap();
    let reachable = life.reachable();
    let lost: Vec<_> = life.pushed.into_inner().unwrap().into_iter().filter(|id| !reachable.contains(id)).collect();
    assert!(lost.is_empty(), "seed {seed} lost {lost:?}");
    let theirs: Vec<Reference> = ledger::read(&life.stage.path("upstream.git"), &["refs/heads", "refs/tags"]).unwrap();
    let mut theirs: Vec<_> =
        theirs.into_iter().map(|r| Reference::new(refs::upstream(&r.name).unwrap(), r.id)).collect();
    theirs.sort();
    let ours = ledger::read(&life.stage.mirror, &[refs::UPSTREAM]).unwrap();
    assert_eq!(ours, theirs, "seed {seed}");
}

// improves: 22-M1-agent-refs-kept
#[test]
fn nothing_pushed_is_lost_in_any_order() {
    let pool = Pool::new(24);
    let seeds = std::env::var("TEROK_MIRROR_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(SEEDS);
    let (next, began) = (std::sync::atomic::AtomicU64::new(1), std::time::Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed > seeds {
                        break;
                    }
                    live(seed, &pool);
                }
            });
        }
    });
    #[allow(clippy::print_stdout, reason = "a figure for whoever runs it with --nocapture")]
    {
        println!("{seeds} lives of {STEPS} steps, nothing lost, {:.0} s", began.elapsed().as_secs_f64());
    }
}

/// A life that is remembered only here, so that the helper above cannot have a hole: a plain forced push is refused.
#[test]
fn the_test_itself_notices_a_loss() {
    let pool = Pool::new(4);
    let life = Life { stage: Stage::new(), pool: &pool, pushed: Mutex::default() };
    pool.lend(&life.stage);
    pool.set(&life.stage, "heads/main", Some(&pool.commits[0]));
    life.stage.sync().unwrap();
    life.push("heads/b", Some(&pool.commits[1]), false);
    assert!(life.reachable().contains(&pool.commits[1]));
    life.stage.git(Path::new(&life.stage.mirror), &["update-ref", "-d", "refs/heads/b"]);
    assert!(!life.reachable().contains(&pool.commits[1]));
}
