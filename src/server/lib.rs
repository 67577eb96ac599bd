//! What the services of a container have in common: one loop that accepts, one way to end, one thread to run on.
//!
//! Invariants:
//! - a service has at most as many connections at once as it names;
//! - no failure to accept ends the loop: a client that is gone already is forgotten, anything else is tried again;
//! - a port serves processes of our own user only;
//! - no program that a service starts inherits a connection;
//! - told to stop, it accepts nothing more, and what is under way gets [`GRACE`] to finish; only what must not be lost
//!   gets longer, [`LAST`].
//!
//! What is said on a connection belongs to the service; only the frame of HTTP is here, because two of them speak it.

mod attend;
mod budget;
mod door;
mod fault;
pub mod http;
mod peer;
mod running;
mod serve;
mod stream;

pub use attend::{Attend, Ending, WhenFull};
pub use budget::{BUDGET, Budget, Charge};
pub use fault::ServerError;
pub use running::Running;
pub use serve::{GRACE, LAST, serve};
pub use stream::Stream;
