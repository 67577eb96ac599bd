//! Tests of the room; tables are in `tests/fixtures/task`.

mod book;
mod claude;
mod id;
mod life;
mod name;
mod share;
