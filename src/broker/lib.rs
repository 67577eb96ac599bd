//! HTTP credential broker: a reverse proxy that takes a container's phantom token and puts the real credential in.
//!
//! Invariants:
//! - a real credential only ever travels to the origin that its provider's route names, never along a redirect; answers
//!   that hold it, plain or in a usual encoding, are withheld or cut off before it;
//! - endpoints that a route denies are never reached;
//! - the provider follows from the token alone: path, `Host` and absolute targets cannot choose another upstream;
//! - a token is looked up for every request, so that revoking it works at once, and counts only in its own container;
//! - bodies stream both ways, of any length, and WebSocket messages pass; no byte of them is changed;
//! - a request that may have side effects is never sent twice;
//! - logs and audit lines hold no token, header value or query.
//!
//! Refuses paths with dot segments, and methods that make a server say back what it was sent. Everything runs on the
//! caller's single-threaded runtime; TLS, connections and the audit file come into being when first needed.

use std::path::PathBuf;
use std::sync::Arc;

use server::Budget;
use vault::VaultCell;

mod account;
mod audit;
mod auditfile;
mod backoff;
mod coding;
mod dial;
mod endpoint;
mod fault;
mod forward;
mod frame;
mod header;
mod identity;
mod inspect;
mod journal;
mod lease;
mod needle;
mod needle_cache;
mod path;
mod pool;
mod proxy;
mod refresh;
mod relay;
mod reply;
mod routes;
mod serve;
mod session;
mod slot;
mod tls;
mod upload;
mod usage;
mod websocket;

pub use fault::BrokerError;
pub use identity::{CODEX_SHARED_OAUTH_MARKER, Markers, PHANTOM_CREDENTIALS_MARKER, owner_of};
pub use vault::Owner;

/// What a broker needs to know.
#[derive(Debug, Clone, Default)]
pub struct BrokerConfig {
    /// The route table.
    pub routes_path: PathBuf,
    /// The audit file of all; a container with an owner also has its own, in a directory next to it. `None` writes none.
    pub audit_path: Option<PathBuf>,
    /// Whose tokens count.
    pub owner: Owner,
    /// Which public markers count.
    pub markers: Markers,
    /// Memory for what the container makes the services hold.
    pub budget: Budget,
    /// Directory of the locks under which logins are refreshed; the same for all supervisors of a user.
    pub lock_dir: PathBuf,
}

/// The broker of one container, served by [`server::serve`]. Clones share everything.
#[derive(Clone)]
pub struct Broker(Arc<proxy::Proxy>);

impl Broker {
    /// Reads the route table; opens nothing else.
    ///
    /// # Errors
    /// [`BrokerError::ReadRoutes`] or [`BrokerError::Routes`].
    pub fn new(config: BrokerConfig, vault: VaultCell) -> Result<Self, BrokerError> {
        Ok(Self(Arc::new(proxy::Proxy {
            routes: routes::RouteBook::open(&config.routes_path)?,
            audit: Arc::new(audit::Audit::new(config.audit_path, &config.owner)),
            owner: config.owner,
            markers: config.markers,
            vault,
            forwarder: forward::Forwarder::default(),
            ending: tokio::sync::watch::Sender::new(false),
            refreshing: refresh::Refreshing::new(config.lock_dir),
            needles: needle_cache::NeedleCache::default(),
            budget: config.budget,
            exchanges: Arc::new(tokio::sync::Semaphore::new(proxy::MAX_EXCHANGES)),
        })))
    }
}
