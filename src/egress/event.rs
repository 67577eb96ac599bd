//! What the firewall tells those who watch, and the trait through which it asks them.
//!
//! The hub that brings questions to people implements [`Clearance`]; without one, [`EventQueue`] keeps the newest events
//! for whoever looks.

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::question::Question;

/// Events that a queue keeps; the oldest go.
const MAX_EVENTS: usize = 128;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A connection waits or was refused, and the operator is asked.
    Asked(Question),
    /// A question has its answer, or needs none any more.
    Closed {
        /// The question.
        question: Question,
        /// `allow`, `deny` or `gone`.
        action: &'static str,
    },
    /// The state changed.
    State(&'static str),
    /// The kernel held other rules than ours; these were the differences.
    VerifyFailed(Vec<String>),
}

/// Those who can answer.
pub trait Clearance {
    /// Takes an event. It must not block.
    fn publish(&self, event: &Event);

    /// True while an answer can be expected: connections wait only then.
    fn can_answer(&self) -> bool;
}

/// A bounded queue inside the process.
#[derive(Debug, Default)]
pub struct EventQueue {
    events: RefCell<VecDeque<Event>>,
}

impl EventQueue {
    /// Takes all events out.
    pub fn take(&self) -> Vec<Event> {
        self.events.borrow_mut().drain(..).collect()
    }
}

impl Clearance for EventQueue {
    fn publish(&self, event: &Event) {
        let mut events = self.events.borrow_mut();
        if events.len() >= MAX_EVENTS {
            events.pop_front();
        }
        events.push_back(event.clone());
    }

    fn can_answer(&self) -> bool {
        false
    }
}
