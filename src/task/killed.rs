//! Processes that create, rename, run, end, archive and delete tasks, killed at random moments: afterwards every task is
//! listed with the state that was reached, and can be changed, archived and deleted.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};
use serde_json::{Value, json};

use crate::{Book, Meta, archive, create, hook, list, prepare, tree};

/// Stages that are treated so at the same time, and kills on each.
const LANES: u64 = 2;
const KILLS: usize = 5_000;
const TASKS: usize = 4;
const HOOKS: [&str; 3] = ["pre_start", "post_start", "post_ready"];
const SEED: u64 = 20_261_122;

#[derive(Clone, Debug, PartialEq, Default)]
struct State {
    name: String,
    mode: Option<String>,
    exit: Option<i64>,
    hooks: Vec<String>,
    deleting: bool,
}

type Model = BTreeMap<String, State>;

/// What the victim does next; it is told to the judge before it begins and when it is done.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    New,
    Rename,
    Run,
    Exit,
    Hook,
    Archive,
    Delete,
}

const ACTS: [Act; 7] = [Act::New, Act::Rename, Act::Run, Act::Exit, Act::Hook, Act::Archive, Act::Delete];

#[derive(Clone, Debug)]
struct Step {
    act: Act,
    task: String,
    number: u32,
}

impl Step {
    fn apply(&self, model: &mut Model) {
        if self.act == Act::Delete {
            model.remove(&self.task);
            return;
        }
        let state = model.entry(self.task.clone()).or_default();
        match self.act {
            Act::New | Act::Rename => state.name = format!("name-{}", self.number),
            Act::Run => state.mode = Some("cli".to_owned()),
            Act::Exit => state.exit = Some(i64::from(self.number)),
            Act::Hook => {
                let fired = HOOKS[self.number as usize % HOOKS.len()];
                if !state.hooks.iter().any(|known| known == fired) {
                    state.hooks.push(fired.to_owned());
                }
            }
            Act::Archive | Act::Delete => {}
        }
    }

    fn line(&self, done: bool) -> String {
        let place = ACTS.iter().position(|act| *act == self.act).unwrap();
        format!("{} {place} {} {}\n", u8::from(done), self.task, self.number)
    }

    fn parse(line: &str) -> (bool, Self) {
        let parts: Vec<&str> = line.split(' ').collect();
        let act = ACTS[parts[1].parse::<usize>().unwrap()];
        (parts[0] == "1", Self { act, task: parts[2].to_owned(), number: parts[3].parse().unwrap() })
    }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}

/// The directories of one project.
struct Stage {
    _dir: tempfile::TempDir,
    book: Book,
    root: PathBuf,
    archive: PathBuf,
}

impl Stage {
    fn new() -> Self {
        // A process that is killed loses nothing that it has written; the memory's file system shows the same.
        let memory = Path::new("/dev/shm");
        let dir = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap();
        let below = |name: &str| dir.path().join(name);
        Self { book: Book::new(below("meta")), root: below("tasks"), archive: below("archive"), _dir: dir }
    }

    fn perform(&self, step: &Step) -> Result<String, crate::TaskError> {
        let task = step.task.as_str();
        let set = |key: &str, value: Value| self.book.update(task, &Meta::from_iter([(key.to_owned(), value)]), &[]);
        match step.act {
            Act::New => return create(&self.book, &self.root, "p", &format!("name-{}", step.number)).map(|new| new.id),
            Act::Rename => self.book.rename("p", task, &format!("name-{}", step.number)).map(drop)?,
            Act::Run => set("mode", json!("cli")).map(drop)?,
            Act::Exit => set("exit_code", json!(step.number)).map(drop)?,
            Act::Hook => {
                let handle = self.book.dossier_path(task)?;
                hook::record(&handle, HOOKS[step.number as usize % HOOKS.len()]).map(drop)?;
            }
            Act::Archive => archive::archive(&self.book, task, &self.root.join(task), &self.archive).map(drop)?,
            Act::Delete => self.delete(task)?,
        }
        Ok(task.to_owned())
    }

    fn delete(&self, task: &str) -> Result<(), crate::TaskError> {
        self.book.mark_deleting(task)?;
        archive::archive(&self.book, task, &self.root.join(task), &self.archive)?;
        tree::remove(&self.root, task.as_ref())?;
        self.book.forget(task)
    }

    /// What is there; nothing of it may be unreadable.
    fn observe(&self) -> Model {
        let listing = list(&self.book, "p", Some(&self.root));
        assert!(listing.trouble.is_empty(), "{:?}", listing.trouble);
        let state = |row: &crate::Row| {
            // Without a parser: this is most of the time that the judge takes.
            let meta = std::fs::read_to_string(self.book.meta_path(&row.task_id).unwrap()).unwrap_or_default();
            let hooks = meta.lines().filter_map(|line| line.strip_prefix("- ")).map(str::to_owned).collect();
            State { name: row.name.clone(), mode: row.mode.clone(), exit: row.exit_code, hooks, deleting: row.deleting }
        };
        listing.rows.iter().map(|row| (row.task_id.clone(), state(row))).collect()
    }
}

/// The victim's life: one step after another, each told before and after.
fn live(stage: &Stage, mut model: Model, mut dice: Dice, tell: &OwnedFd) -> Result<(), String> {
    loop {
        let number = u32::try_from(dice.below(1000)).unwrap();
        let tasks: Vec<String> = model.keys().cloned().collect();
        let act = match tasks.len() {
            0 => Act::New,
            TASKS.. => Act::Delete,
            _ => ACTS[usize::try_from(dice.below(ACTS.len() as u64)).unwrap()],
        };
        let chosen = usize::try_from(dice.below(tasks.len() as u64)).unwrap();
        let task = if act == Act::New { "?".to_owned() } else { tasks[chosen].clone() };
        let mut step = Step { act, task, number };
        let say = |text: String| rustix::io::write(tell, text.as_bytes()).map(drop).map_err(|e| e.to_string());
        say(step.line(false))?;
        step.task = stage.perform(&step).map_err(|error| format!("{step:?}: {error}"))?;
        say(step.line(true))?;
        step.apply(&mut model);
    }
}

/// Runs a victim for `life` and returns what it told; an error of its own fails the test.
fn kill_one(stage: &Stage, model: &Model, seed: u64, life: Duration) -> Vec<(bool, Step)> {
    let (hear, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let (model, dice) = (model.clone(), Dice(seed | 1));
    // SAFETY: the child touches nothing that another thread of this process could have left locked: it allocates (which
    // the C library provides for), works on files, and ends without returning.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| live(stage, model, dice, &tell)));
        let text = ended.map_or_else(|_| "panicked".to_owned(), |lived| lived.err().unwrap_or_default());
        let _ = rustix::io::write(&tell, format!("! {text}\n").as_bytes());
        // SAFETY: as above; this is the end of the child.
        unsafe { libc::_exit(1) };
    }
    drop(tell);
    let child = Pid::from_raw(child).expect("fork works");
    std::thread::sleep(life);
    rustix::process::kill_process(child, Signal::KILL).unwrap();
    let (_, status) = rustix::process::waitpid(Some(child), WaitOptions::empty()).unwrap().unwrap();
    let mut told = String::new();
    std::io::Read::read_to_string(&mut std::fs::File::from(hear), &mut told).unwrap();
    assert!(status.signaled(), "the victim ended by itself: {told}");
    told.lines().map(Step::parse).collect()
}

/// The states that are true after what was told: that of the steps which were done, and then, of the one that was not,
/// nothing or everything, or as much of a deletion as can be seen and repeated.
fn judge(stage: &Stage, before: &Model, told: &[(bool, Step)]) -> Model {
    let mut model = before.clone();
    told.iter().filter(|(done, _)| *done).for_each(|(_, step)| step.apply(&mut model));
    let seen = stage.observe();
    let open = told.last().filter(|(done, _)| !done).map(|(_, step)| step);
    let mut expected = model.clone();
    match open {
        Some(step) if step.act == Act::New => {
            let name = format!("name-{}", step.number);
            let new: Vec<_> = seen.iter().filter(|(id, _)| !model.contains_key(*id)).collect();
            assert!(new.len() <= 1, "{new:?}");
            expected
                .extend(new.into_iter().map(|(id, _)| (id.clone(), State { name: name.clone(), ..State::default() })));
        }
        Some(step) if step.act == Act::Delete => match seen.get(&step.task) {
            None => drop(expected.remove(&step.task)),
            Some(found) if found.deleting => {
                let state = expected.get_mut(&step.task).unwrap();
                state.deleting = true;
                // The dossier goes before the mark does.
                if found.name.is_empty() {
                    state.name.clear();
                }
            }
            Some(_) => {}
        },
        Some(step) => {
            let mut after = model.clone();
            step.apply(&mut after);
            if seen.get(&step.task) == after.get(&step.task) {
                expected = after;
            }
        }
        None => {}
    }
    assert_eq!(seen, expected, "after {:?}", told.iter().rev().take(3).collect::<Vec<_>>());
    seen
}

/// The task that was being treated can be completed, changed, archived and, when it was to be, deleted.
fn go_on(stage: &Stage, model: &mut Model, told: &[(bool, Step)], before: &Model) {
    if !told.iter().any(|(_, step)| step.act == Act::Delete) {
        return revive(stage, model, told, before);
    }
    let kept = archive::list(&stage.archive);
    for (_, step) in told.iter().filter(|(done, step)| *done && step.act == Act::Delete) {
        assert!(kept.iter().any(|entry| entry.task_id == step.task), "{} was archived", step.task);
    }
    let Some((done, step)) = told.last() else { return };
    if !done && step.act == Act::Delete && !model.contains_key(&step.task) {
        assert!(kept.iter().any(|entry| entry.task_id == step.task), "{} was archived", step.task);
    }
    revive(stage, model, told, before);
}

fn revive(stage: &Stage, model: &mut Model, told: &[(bool, Step)], before: &Model) {
    let Some((false, step)) = told.last() else { return };
    let treated: Vec<String> =
        model.keys().filter(|id| **id == step.task || !before.contains_key(*id)).cloned().collect();
    for task in treated {
        if model[&task].deleting {
            stage.delete(&task).unwrap();
            model.remove(&task);
            assert!(!stage.root.join(&task).exists());
            continue;
        }
        prepare(&stage.root.join(&task)).unwrap();
        assert!(stage.root.join(&task).join("workspace-dangerous/.new-task-marker").is_file());
        stage.book.update(&task, &Meta::from_iter([("exit_code".to_owned(), json!(77))]), &[]).unwrap();
        model.get_mut(&task).unwrap().exit = Some(77);
    }
}

/// The toll of one stage: kills in the middle of a step, and the longest time that it took to go on.
fn treat(seed: u64) -> (usize, Duration) {
    let (stage, mut dice) = (Stage::new(), Dice(seed));
    let (mut model, mut within, mut slowest) = (Model::new(), 0, Duration::ZERO);
    for _ in 0..KILLS {
        let life = Duration::from_micros(200 + dice.below(1_800));
        let told = kill_one(&stage, &model, dice.below(u64::MAX), life);
        let began = Instant::now();
        let before = model.clone();
        model = judge(&stage, &before, &told);
        go_on(&stage, &mut model, &told, &before);
        within += usize::from(told.last().is_some_and(|(done, _)| !done));
        slowest = slowest.max(began.elapsed());
        tidy(&stage);
    }
    for task in model.keys() {
        stage.delete(task).unwrap();
    }
    for place in [stage.book.dir(), &stage.root] {
        let rest: Vec<_> = std::fs::read_dir(place).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert!(rest.is_empty(), "{}: {rest:?}", place.display());
    }
    (within, slowest)
}

/// Thousands of archived tasks would only make the judge slow.
fn tidy(stage: &Stage) {
    let Ok(entries) = std::fs::read_dir(&stage.archive) else { return };
    let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    if entries.len() > TASKS * 20 {
        entries.sort();
        entries.truncate(TASKS * 10);
        entries.iter().for_each(|entry| std::fs::remove_dir_all(entry).unwrap());
    }
}

/// Appends to the file that the suite's sum is made of, when there is one.
fn hand_over(kills: usize, slowest: Duration) {
    use std::io::Write;
    let Some(place) = std::env::var_os("TEROK_KILL_FIGURES") else { return };
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(place).unwrap();
    let slowest = slowest.as_secs_f64();
    writeln!(file, r#"{{"victim": "task: life cycle on disk", "kills": {kills}, "slowest": {slowest:.3}}}"#).unwrap();
}

// improves: 31-1.1-reserved-id 31-2.1-locked-changes
#[test]
fn every_task_that_a_killed_process_worked_on_can_be_gone_on_with() {
    let seed = std::env::var("TEROK_KILL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    let began = Instant::now();
    let tolls: Vec<(usize, Duration)> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|lane| scope.spawn(move || treat(seed ^ (lane << 32) | 1))).collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).collect()
    });
    let within: usize = tolls.iter().map(|toll| toll.0).sum();
    let slowest = tolls.iter().map(|toll| toll.1).max().unwrap_or_default();
    let kills = usize::try_from(LANES).unwrap() * KILLS;
    #[allow(clippy::print_stdout)] // a figure is what it is for
    {
        println!(
            "seed {seed}: {kills} kills, {within} within a step, slowest check {slowest:?}, {:?}",
            began.elapsed()
        );
    }
    assert!(within > kills / 2, "only {within} kills were in the middle of something");
    hand_over(kills, slowest);
}
