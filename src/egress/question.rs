//! Questions to the operator: one for each target about which nothing is decided.
//!
//! Invariants: at most [`MAX_OPEN`] are open; a number is never given twice; every change is in the file before it is
//! published, so that the next worker continues with the same questions.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use terok_shield_policy::directory::{StateDirectory, file};
use terok_shield_policy::{ShieldError, Target};

/// The most open questions of a container.
pub const MAX_OPEN: usize = 128;

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Its number, from 1.
    pub id: u64,
    /// A name, or an address where no name is known.
    pub target: String,
    /// The port of the first attempt.
    pub port: u16,
    /// The protocol's number.
    pub proto: u8,
    /// Attempts so far.
    pub count: u64,
    /// UTC time of the first one.
    pub since: String,
    /// Why it is asked, where that is not an undecided connection.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What becomes of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It is a new question.
    New(Question),
    /// It belongs to an open one.
    Again(u64),
    /// There are too many questions.
    Full,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    next: u64,
    open: Vec<Question>,
    #[serde(default)]
    not_asked: u64,
}

/// The open questions.
#[derive(Debug, Default)]
pub struct Questions {
    next: u64,
    open: BTreeMap<u64, Question>,
    not_asked: u64,
    dirty: bool,
}

impl Questions {
    /// Reads what a worker before this one left.
    ///
    /// # Errors
    /// [`ShieldError::File`] for trouble with the disk; a damaged file is an empty one.
    pub fn load(directory: &StateDirectory) -> Result<Self, ShieldError> {
        let (stored, _) = directory.json::<Stored>(file::QUESTIONS)?;
        let open: BTreeMap<u64, Question> = stored.open.into_iter().take(MAX_OPEN).map(|q| (q.id, q)).collect();
        let highest = open.keys().last().copied().unwrap_or_default();
        Ok(Self { next: stored.next.max(highest), open, not_asked: stored.not_asked, dirty: false })
    }

    /// Takes an attempt.
    pub fn ask(&mut self, target: &Target, port: u16, proto: u8, reason: &str) -> Asked {
        let text = target.to_string();
        self.dirty = true;
        if let Some(open) = self.open.values_mut().find(|open| open.target == text) {
            open.count += 1;
            return Asked::Again(open.id);
        }
        if self.open.len() >= MAX_OPEN {
            self.not_asked += 1;
            return Asked::Full;
        }
        self.next += 1;
        let since = base::clock::iso(SystemTime::now());
        let reason = reason.to_owned();
        let question = Question { id: self.next, target: text, port, proto, count: 1, since, reason };
        self.open.insert(question.id, question.clone());
        Asked::New(question)
    }

    /// The open questions, oldest first.
    pub fn open(&self) -> impl Iterator<Item = &Question> {
        self.open.values()
    }

    /// The question with that number.
    pub fn get(&self, id: u64) -> Option<&Question> {
        self.open.get(&id)
    }

    /// Takes a question out, for the one verdict that it gets.
    pub fn take(&mut self, id: u64) -> Option<Question> {
        self.dirty = true;
        self.open.remove(&id)
    }

    /// Puts a question back whose verdict failed.
    pub fn put_back(&mut self, question: Question) {
        self.dirty = true;
        self.open.insert(question.id, question);
    }

    /// Takes out the questions whose target `decided` picks.
    pub fn close(&mut self, decided: impl Fn(&str) -> bool) -> Vec<Question> {
        let ids: Vec<u64> = self.open.values().filter(|q| decided(&q.target)).map(|q| q.id).collect();
        ids.into_iter().filter_map(|id| self.take(id)).collect()
    }

    /// Writes the file when something has changed.
    ///
    /// # Errors
    /// [`ShieldError::File`]; the next call tries again.
    pub fn save(&mut self, directory: &StateDirectory) -> Result<(), ShieldError> {
        if !self.dirty {
            return Ok(());
        }
        let open = self.open.values().cloned().collect();
        directory.write_json(file::QUESTIONS, &Stored { next: self.next, open, not_asked: self.not_asked })?;
        self.dirty = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        Target::parse(text).unwrap()
    }

    #[test]
    fn target_is_asked_about_once_and_its_number_is_never_given_again() {
        let mut questions = Questions::default();
        let Asked::New(first) = questions.ask(&target("a.test"), 443, 6, "") else { panic!() };
        assert_eq!(questions.ask(&target("a.test"), 80, 6, ""), Asked::Again(first.id));
        assert_eq!(questions.get(first.id).unwrap().count, 2);
        assert_eq!(questions.take(first.id).unwrap().id, 1);
        assert_eq!(questions.take(first.id), None, "one verdict");
        let Asked::New(second) = questions.ask(&target("a.test"), 443, 6, "") else { panic!() };
        assert_eq!(second.id, 2);
    }

    #[test]
    fn question_beyond_the_most_is_only_counted() {
        let mut questions = Questions::default();
        for number in 0..MAX_OPEN {
            assert!(matches!(questions.ask(&target(&format!("h{number}.test")), 443, 6, ""), Asked::New(_)));
        }
        assert_eq!(questions.ask(&target("one.more.test"), 443, 6, ""), Asked::Full);
        assert_eq!((questions.open().count(), questions.not_asked), (MAX_OPEN, 1));
    }

    #[test]
    fn questions_survive_a_restart() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let directory = StateDirectory::open(dir.path()).unwrap();
        let mut questions = Questions::load(&directory).unwrap();
        questions.ask(&target("a.test"), 443, 6, "");
        questions.ask(&target("203.0.113.9"), 22, 6, "");
        questions.take(2);
        questions.save(&directory).unwrap();
        let mut next = Questions::load(&directory).unwrap();
        assert_eq!(next.open().map(|q| q.target.as_str()).collect::<Vec<_>>(), ["a.test"]);
        let Asked::New(third) = next.ask(&target("b.test"), 443, 6, "") else { panic!() };
        assert_eq!(third.id, 3);
        std::fs::write(dir.path().join(file::QUESTIONS), "{").unwrap();
        assert_eq!(Questions::load(&directory).unwrap().open().count(), 0);
    }
}
