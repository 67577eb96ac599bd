//! Egress policy of a container: what it may reach, as values and pure functions.
//!
//! Invariants:
//! - what no entry opens is closed, and a denial beats every allowance;
//! - names never open private space;
//! - the rules that are sent to the kernel, run by [`interpret`], shown by [`explain`] and compared after each change
//!   are one value;
//! - nothing here opens a socket, runs a program or waits. Only [`directory`] and [`audit`] touch files, below the
//!   container's state directory.

pub mod address;
pub mod audit;
mod classify;
pub mod directory;
mod entry;
mod explain;
mod fault;
pub mod interpret;
pub mod judge;
mod name;
pub mod packet;
mod policy;
mod profile;
pub mod ruleset;
mod state;
mod symbol;

pub use classify::{classify, element_is_known};
pub use entry::{Entry, parse_lines, parse_range};
pub use explain::{Explanation, Outcome, Target, explain};
pub use fault::ShieldError;
pub use name::{BadName, Name};
pub use policy::{NameEntry, NameVerdict, Origin, Policy, PublishedProtocol, RangeEntry, ServicePort};
pub use profile::ProfileLoader;
pub use state::ShieldState;
pub use symbol::Symbol;
