//! The firewall of a container at run time: names instead of addresses, and a question instead of a failure.
//!
//! [`Bound::bind`] brings the rules into force before the container runs; [`Bound::serve`] answers its DNS questions,
//! checks the names of its connections, holds what nothing decides about, and keeps proving that the kernel has our
//! rules.
//!
//! Invariants:
//! - without a worker there are neither names nor redirected connections; the rules stay;
//! - the name decides and not the address, and names never lead to private space or to this host;
//! - no byte of a redirected connection is kept, so that memory does not grow with traffic;
//! - everything that comes from the container is bounded.

mod answer;
mod bound;
mod connect;
mod dns;
mod engine;
mod event;
mod fault;
mod learned;
mod listener;
mod parking;
mod peek;
mod plain;
mod polled;
mod probe;
mod question;
mod relay;
mod resolver;
mod serve;
mod traffic;
mod verdict;
mod verify;

pub use bound::{Bound, Plan};
pub use engine::{Engine, Standing};
pub use event::{Clearance, Event, EventQueue};
pub use fault::EgressError;
pub use peek::{First, MAX_HELLO, look};
pub use probe::{Probe, Probes};
pub use question::{Asked, Question, Questions};
pub use verdict::Applied;

/// Entry points of the fuzz tests.
pub mod fuzz {
    /// Reads a DNS query; true when it is one.
    pub fn query(bytes: &[u8]) -> bool {
        crate::answer::Query::parse(bytes).is_ok_and(|query| {
            let _ = query.name();
            let built = crate::answer::build(&query, &crate::answer::Answer::Empty, 512);
            built.len() <= 512
        })
    }

    /// Reads the addresses of a DNS answer.
    pub fn answer(bytes: &[u8]) -> Option<usize> {
        crate::answer::addresses(bytes).map(|found| found.len())
    }
}
