//! The gate with real git on both sides.

mod bombs;
mod contract;
mod faults;
mod fuzz;
mod policy;
mod stage;
mod traffic;
