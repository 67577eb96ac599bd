//! Foundations every other room stands on: faults, secrets, identifiers, text, files, locks, processes, users.
//!
//! Invariants: nothing here knows what a container, a vault or an agent is, and nothing here prints.

pub mod ceiling;
pub mod clock;
pub mod config;
pub mod connect;
pub mod edit;
pub mod env;
pub mod fault;
pub mod file;
pub mod folder;
pub mod ident;
pub mod lock;
pub mod locked;
pub mod notice;
pub mod path;
pub mod peer;
pub mod pid;
pub mod process;
pub mod secret;
pub mod setting;
pub mod shared;
pub mod socket;
pub mod stack;
pub mod stamp;
mod talk;
pub mod text;
pub mod timezone;
pub mod user;
pub mod yaml;
