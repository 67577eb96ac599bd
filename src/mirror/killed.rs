//! A synchronisation killed at random moments, alone or with everything it started, while somebody pushes: the next one
//! heals the mirror, and nothing that was pushed is lost.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::refs::{self, Reference};
use crate::stage::{Dice, Pool, Stage};
use crate::{Address, Upstream, ledger};

/// Mirrors that are treated so at the same time, and kills of each.
const LIVES: u64 = 2;
const POINTS: usize = 75;
const VICTIM: &str = "TEROK_TEST_MIRROR_VICTIM";

/// What the child process does: one synchronisation of the stage that the environment names.
#[test]
fn victim() {
    let Some(dir) = std::env::var_os(VICTIM) else { return };
    let dir = Path::new(&dir);
    let address = Address::parse(&format!("file://{}/upstream.git", dir.display())).unwrap();
    let upstream = Upstream { address, reach: Default::default(), patience: Default::default() };
    let mirror = dir.join("gate/p.git");
    crate::prepare(&mirror, Some(&upstream), None, false, &mut |_| true).unwrap();
    crate::synchronise(&mirror, &upstream, None, &mut |_| true).unwrap();
}

/// Kills a synchronisation after `delay`; with `all`, also every git in the mirror's directory at that moment.
fn kill_one(stage: &Stage, delay: Duration, all: bool) -> bool {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::victim", "--test-threads=1"])
        .env(VICTIM, stage.path("."))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(delay);
    let alive = victim.try_wait().unwrap().is_none();
    let started = if all { descendants(victim.id()) } else { Vec::new() };
    let _ = victim.kill();
    for pid in started {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    victim.wait().unwrap();
    alive
}

fn descendants(pid: u32) -> Vec<i32> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let children = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
    let direct: Vec<i32> = tasks
        .flatten()
        .flat_map(|task| children(task).split_whitespace().filter_map(|p| p.parse().ok()).collect::<Vec<_>>())
        .collect();
    direct.iter().flat_map(|child| std::iter::once(*child).chain(descendants(*child as u32))).collect()
}

/// Pushes one commit after another to branches of its own until told to stop.
fn client(stage: &Stage, pool: &Pool, stop: &AtomicBool, pushed: &Mutex<Vec<(String, String)>>) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let commit = &pool.commits[number % pool.commits.len()];
        let name = format!("refs/heads/agent/{number}");
        let (done, _) =
            stage.try_git(&pool.path, &["push", "-q", &stage.mirror.to_string_lossy(), &format!("{commit}:{name}")]);
        if done {
            pushed.lock().unwrap().push((name, commit.clone()));
        }
        number += 1;
        std::thread::sleep(Duration::from_millis(75));
    }
}

/// What came of the kills of one mirror.
struct Toll {
    killed: usize,
    pushed: usize,
    freed: usize,
    slowest: f64,
}

/// The life of one mirror: syncs that are killed while a client pushes, and now and then one that is left alone.
fn kill_many(seed: u64) -> Toll {
    let (stage, pool) = (Stage::new(), Pool::new(40));
    pool.lend(&stage);
    pool.set(&stage, "heads/main", Some(&pool.commits[0]));
    let began = Instant::now();
    kill_one(&stage, Duration::from_millis(1), false);
    stage.sync().unwrap();
    let mut usual = began.elapsed().max(Duration::from_millis(40));
    let (stop, pushed) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let mut dice = Dice::new(seed);
    let mut toll = Toll { killed: 0, pushed: 0, freed: 0, slowest: 0.0 };
    std::thread::scope(|scope| {
        scope.spawn(|| client(&stage, &pool, &stop, &pushed));
        for point in 0..3 * POINTS {
            if toll.killed == POINTS {
                break;
            }
            for name in ["heads/main", "heads/x", "heads/y/z", "tags/t"] {
                let commit = dice.pick(&pool.commits).clone();
                pool.set(&stage, name, dice.below(5).checked_sub(1).map(|_| commit.as_str()));
            }
            let delay = Duration::from_micros(dice.below(usual.as_micros() as u64));
            let in_time = kill_one(&stage, delay, point % 2 == 0);
            toll.killed += usize::from(in_time);
            // Finds out how long one takes, which depends on who else uses the machine.
            usual = usual.mul_f64(if in_time { 1.02 } else { 0.95 });
            if point % 4 == 3 {
                let began = Instant::now();
                toll.freed += stage.sync().unwrap_or_else(|error| panic!("point {point}: {error}")).freed.len();
                toll.slowest = toll.slowest.max(began.elapsed().as_secs_f64());
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let pushed = pushed.into_inner().unwrap();
    toll.pushed = pushed.len();
    judge(&stage, &pushed);
    toll
}

/// After one more sync the mirror is whole: everything that was pushed, and exactly what the upstream has.
fn judge(stage: &Stage, pushed: &[(String, String)]) {
    stage.sync().unwrap();
    let tips: BTreeSet<_> = ledger::read(&stage.mirror, &["refs/heads"]).unwrap().into_iter().collect();
    for (name, commit) in pushed {
        assert!(tips.contains(&Reference::new(name.as_bytes(), commit.clone())), "{name} is not at {commit}");
    }
    let mut theirs: Vec<_> = ledger::read(&stage.path("upstream.git"), &["refs/heads", "refs/tags"])
        .unwrap()
        .into_iter()
        .map(|r| Reference::new(refs::upstream(&r.name).unwrap(), r.id))
        .collect();
    theirs.sort();
    assert_eq!(ledger::read(&stage.mirror, &[refs::UPSTREAM]).unwrap(), theirs);
    stage.git(&stage.mirror, &["fsck", "--connectivity-only"]);
    let rest: Vec<_> = std::fs::read_dir(stage.path("gate")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(rest.len(), 2, "the mirror and its lock: {rest:?}");
}

// improves: 22-M3-clone-whole 22-M4-mirror-lock
#[test]
fn a_killed_sync_is_healed_by_the_next() {
    let began = Instant::now();
    let tolls: Vec<Toll> = std::thread::scope(|scope| {
        let lives: Vec<_> = (0..LIVES).map(|life| scope.spawn(move || kill_many(11 + life))).collect();
        lives.into_iter().map(|life| life.join().unwrap()).collect()
    });
    let sum = |count: fn(&Toll) -> usize| tolls.iter().map(count).sum::<usize>();
    let (killed, pushed, freed) = (sum(|toll| toll.killed), sum(|toll| toll.pushed), sum(|toll| toll.freed));
    hand_over("mirror: synchronisation", killed, tolls.iter().map(|toll| toll.slowest).reduce(f64::max));
    #[allow(clippy::print_stdout, reason = "a figure for whoever runs it with --nocapture")]
    {
        println!("{killed} syncs killed, {pushed} pushes, {freed} locks freed, {:.0} s", began.elapsed().as_secs_f64());
    }
    assert!(tolls.iter().all(|toll| toll.killed == POINTS && toll.pushed > POINTS / 4));
}

#[test]
fn a_killed_creation_leaves_no_mirror_or_a_whole_one() {
    let pool = Pool::new(10);
    let mut dice = Dice::new(5);
    for point in 0..20 {
        let stage = Stage::new();
        pool.lend(&stage);
        pool.set(&stage, "heads/main", Some(&pool.commits[9]));
        kill_one(&stage, Duration::from_millis(dice.below(120)), point % 2 == 0);
        if stage.mirror.exists() {
            assert_eq!(stage.tip("refs/heads/main"), pool.commits[9], "point {point}");
        }
        stage.sync().unwrap();
        assert_eq!(stage.tip("refs/heads/main"), pool.commits[9], "point {point}");
    }
    hand_over("mirror: creation", 20, None);
}

/// Appends to the file that the whole suite's sum is made of, when there is one.
fn hand_over(victim: &str, kills: usize, slowest: Option<f64>) {
    use std::io::Write;
    let Some(place) = std::env::var_os("TEROK_KILL_FIGURES") else { return };
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(place).unwrap();
    let slowest = slowest.map_or("null".into(), |seconds| format!("{seconds:.3}"));
    writeln!(file, r#"{{"victim": "{victim}", "kills": {kills}, "slowest": {slowest}}}"#).unwrap();
}
