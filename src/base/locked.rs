//! Memory for one secret: pages of its own that are not swapped out, not dumped, and wiped before they are returned.
//!
//! The limit of locked memory (`ulimit -l`, usually 8 MiB) may be lower than what is asked for; then the pages are
//! ordinary ones, because a secret that cannot be stored would stop the program that needs it.

use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags};
use zeroize::Zeroize;

/// Bytes in pages of their own.
pub struct LockedBytes {
    start: NonNull<u8>,
    /// Used bytes; the kernel rounds every length up to whole pages.
    len: usize,
}

// SAFETY: the pages belong to this value alone, and nothing but `drop` writes to them after `new`.
unsafe impl Send for LockedBytes {}
// SAFETY: as above.
unsafe impl Sync for LockedBytes {}

impl LockedBytes {
    /// Copies `bytes`; `None` when there are none, or when the system has no pages.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new private mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), bytes.len(), access, MapFlags::PRIVATE) };
        let start = NonNull::new(start.ok()?)?;
        // SAFETY: advice and lock cover the mapping that was just made; the copy fits into it.
        unsafe {
            let _ = rustix::mm::mlock(start.as_ptr(), bytes.len());
            let _ = rustix::mm::madvise(start.as_ptr(), bytes.len(), Advice::LinuxDontDump);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), start.as_ptr().cast(), bytes.len());
        }
        Some(Self { start: start.cast(), len: bytes.len() })
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: `new` wrote `len` bytes there; they stay until the value is dropped.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for LockedBytes {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and writable, and no borrow outlives the value.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len).zeroize();
            let _ = rustix::mm::munmap(self.start.as_ptr().cast(), self.len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The flags of the mapping that holds `address`, as the kernel lists them.
    fn flags_at(address: usize) -> Vec<String> {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let bounds = range.and_then(|(from, to)| {
                Some((usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?))
            });
            match (bounds, line.strip_prefix("VmFlags:")) {
                (Some((from, to)), _) => inside = (from..to).contains(&address),
                (None, Some(flags)) if inside => return flags.split_whitespace().map(str::to_owned).collect(),
                _ => {}
            }
        }
        panic!("no mapping holds {address:x}");
    }

    // holds: secrets-out-of-swap
    #[test]
    fn pages_are_locked_and_left_out_of_dumps() {
        let bytes = LockedBytes::new(b"secret").unwrap();
        assert_eq!(bytes.as_bytes(), b"secret");
        let flags = flags_at(bytes.start.as_ptr() as usize);
        assert!(flags.iter().any(|flag| flag == "dd"), "{flags:?}");
        let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
        if limit.is_none_or(|limit| limit >= 64 * 1024) {
            assert!(flags.iter().any(|flag| flag == "lo"), "{flags:?}");
        }
    }

    #[test]
    fn every_length_is_stored_and_returned() {
        assert!(LockedBytes::new(b"").is_none());
        for length in [1, 4095, 4096, 4097, 100_000] {
            let bytes = vec![7; length];
            assert_eq!(LockedBytes::new(&bytes).unwrap().as_bytes(), bytes);
        }
        // More than any limit of locked memory: every one is returned before the next.
        for _ in 0..20_000 {
            drop(LockedBytes::new(b"x").unwrap());
        }
    }
}
