//! Registers a descriptor of ours with the runtime.

use std::io;
use std::os::fd::AsRawFd;

use terok_nft::{ChangeWatch, PacketLog};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Types that own one descriptor for as long as they live, and always name that one.
pub(crate) trait OwnsDescriptor: AsRawFd {}

impl OwnsDescriptor for std::os::fd::OwnedFd {}
impl OwnsDescriptor for ChangeWatch {}
impl OwnsDescriptor for PacketLog {}

/// Registers a descriptor; must be called inside a runtime.
pub(crate) fn polled<T: OwnsDescriptor>(inner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: the trait's types own an open descriptor until they are dropped, and `as_raw_fd` names it every time.
    unsafe { AsyncFd::register_with_interest(inner, interest) }.map_err(io::Error::from)
}
