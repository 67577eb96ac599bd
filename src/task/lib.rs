//! Tasks on disk: identifiers, names, metadata, life cycle, archive, work status, log formats.
//!
//! Invariants:
//! - whoever changes a task holds its lock, reads what is there, and writes whole files;
//! - wherever a process is killed, the task is listed with a true state afterwards and can be resumed, archived or deleted;
//! - what a container can write is read without following links, up to a limit, and cleaned before it is shown;
//! - nothing outside a managed root is ever removed.
