//! Notifications about changes of a namespace's rules.
//!
//! A notification says only that something changed; [`crate::Firewall::is_unchanged`] tells whether it was us.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

use crate::constant::{GROUP_NFTABLES, NETLINK_NETFILTER};
use crate::fault::NftError;

/// A non-blocking socket that becomes readable when the rules change.
#[derive(Debug)]
pub struct ChangeWatch {
    fd: OwnedFd,
}

impl AsFd for ChangeWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for ChangeWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl ChangeWatch {
    /// Another handle on the same socket.
    ///
    /// # Errors
    /// The operating system's, when no descriptor is left.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()? })
    }

    /// Subscribes in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`NftError::Socket`].
    pub fn open() -> Result<Self, NftError> {
        let purpose = "changes of the rules";
        let failed = |source: rustix::io::Errno| NftError::Socket { purpose, source: source.into() };
        let number = std::num::NonZeroU32::new(NETLINK_NETFILTER).map(rustix::net::Protocol::from_raw);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, number).map_err(failed)?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, 1 << (GROUP_NFTABLES - 1))).map_err(failed)?;
        Ok(Self { fd })
    }

    /// Discards what has arrived; true when there was something. A full queue counts as something.
    pub fn drain(&self) -> bool {
        let mut buffer = [0; 8192];
        let mut any = false;
        loop {
            match rustix::net::recv(&self.fd, &mut buffer, RecvFlags::TRUNC) {
                Ok(_) | Err(rustix::io::Errno::NOBUFS) => any = true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return any,
            }
        }
    }
}
