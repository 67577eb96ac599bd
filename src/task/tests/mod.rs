//! Tests of the room; tables are in `tests/fixtures/task`.

mod book;
mod id;
mod name;
