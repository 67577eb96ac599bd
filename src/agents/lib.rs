//! Roster, providers, wrappers, instructions, agent configuration, container environment.
//!
//! Invariants: nothing here starts a container or opens the vault; whatever a container can write is reached without
//! following a link; texts for a person are returned as warnings, never printed.

pub mod command;
pub mod config_dir;
#[cfg(test)]
mod config_dir_test;
pub mod environment;
#[cfg(test)]
mod environment_test;
pub mod fault;
pub mod instruction;
pub mod leak;
pub mod model;
pub mod patch;
mod patch_edit;
#[cfg(test)]
mod patch_test;
mod project;
pub mod roster;
pub mod routes;
pub mod rule;
pub mod schema;
pub mod seed;
pub mod selection;
pub mod shared;
pub mod storage;
pub mod subagent;
pub mod volume;
pub mod wrapper;
#[cfg(test)]
mod wrapper_test;

pub use fault::AgentError;
pub use project::{api_key_command, capitalise};
