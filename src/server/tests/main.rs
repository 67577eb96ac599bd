//! The accept loop, its limits and its end, with a service that echoes.

mod end;
mod limits;
mod running;
mod stage;
