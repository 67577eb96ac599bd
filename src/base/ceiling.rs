//! Limits of a child process, set between fork and exec and inherited by everything that it starts.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Bounds of every single process of a child's family; the default bounds nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ceiling {
    /// Bytes of memory of its own (`RLIMIT_DATA`). Files that it maps to read do not count: the kernel can drop them.
    pub memory: Option<u64>,
    /// Bytes of any file that it writes (`RLIMIT_FSIZE`).
    pub file: Option<u64>,
    /// How much it gives way to other processes (`nice`).
    pub nice: i32,
}

impl Ceiling {
    /// Puts the calling process under the bounds. To be called between fork and exec: only system calls are made.
    ///
    /// # Errors
    /// The operating system's.
    pub fn apply(&self) -> io::Result<()> {
        if self.memory.is_some() || self.file.is_some() {
            // A process that meets its bound leaves no core behind.
            lower(Resource::Core, 0)?;
        }
        if let Some(bytes) = self.memory {
            lower(Resource::Data, bytes)?;
        }
        if let Some(bytes) = self.file {
            lower(Resource::Fsize, bytes)?;
        }
        if self.nice > 0 {
            rustix::process::nice(self.nice)?;
        }
        Ok(())
    }
}

/// Lowers a limit; one that is lower already stays.
fn lower(resource: Resource, bytes: u64) -> io::Result<()> {
    let present = getrlimit(resource);
    let least = [present.current, present.maximum].into_iter().flatten().fold(bytes, u64::min);
    Ok(setrlimit(resource, Rlimit { current: Some(least), maximum: Some(least) })?)
}
