//! nf_tables over netlink: typed rules, transactions, dumps, comparison, packet log, namespaces.
//!
//! Invariants:
//! - no other program runs, and no text is ever interpreted: every value is typed until it is a netlink attribute;
//! - a change is one transaction, in force when the call returns;
//! - what is sent, dumped, compared and interpreted is one type, [`Image`];
//! - every buffer that comes from outside is read with bounds checks.
//!
//! Own netlink code, because no kept crate fits: `rustables` is under the GPL; `nftnl` needs two C libraries; `nftables`
//! runs the nft program; `nf_tables` has one release; `netlink-bindings` 0.3 (generated) and `netlink-packet-netfilter`
//! know neither `redir` nor `limit`, and hide the bytes that the comparison needs.

mod attribute;
mod compare;
mod constant;
mod destination;
mod destroy;
pub mod dump;
pub mod expression;
mod fault;
mod firewall;
pub mod image;
mod message;
mod model;
mod namespace;
pub mod packetlog;
mod range;
pub mod render;
mod route;
mod socket;
mod transaction;
mod watch;

pub use compare::differences;
pub use destination::original_destination;
pub use destroy::{destroy_outward_sockets, destroy_sockets};
pub use dump::Ruleset;
pub use expression::Rejection;
pub use fault::NftError;
pub use firewall::Firewall;
pub use image::{ElementImage, Image};
pub use model::{Chain, Element, Family, Hook, Protocol, Quota, Rule, Set, SetKind, State, Table, Term};
pub use namespace::NetworkNamespace;
pub use packetlog::{LoggedPacket, PacketLog, Reading};
pub use range::{Range, from_octets, merge, octets};
pub use route::{RouteKind, Routes, add_loopback_address};
pub use transaction::Transaction;
pub use watch::ChangeWatch;
