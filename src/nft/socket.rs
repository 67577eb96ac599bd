//! A netlink socket: one request at a time, answered by acknowledgements or by a dump.
//!
//! A socket stays in the network namespace in which it was opened. Every wait is bounded, so that a lost answer becomes
//! an error instead of a hang.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use crate::constant::{NLM_F_ACK, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR};
use crate::fault::NftError;
use crate::message::{self, Message};

/// How long an answer may take. The kernel answers within microseconds; a loaded machine may need longer.
const ANSWER: Duration = Duration::from_secs(10);
/// Asks for this much room for transactions; the kernel gives what `net.core.wmem_max` allows.
const SEND_BUFFER: usize = 8 * 1024 * 1024;
const RECEIVE_BUFFER: usize = 64 * 1024;
/// What the kernel keeps of the send buffer for itself.
const OVERHEAD: usize = 64;

/// One netlink socket.
#[derive(Debug)]
pub struct Netlink {
    fd: OwnedFd,
    sequence: u32,
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Netlink {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Netlink {
    /// Opens a socket of `protocol` (a `NETLINK_*` number) in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`NftError::Socket`].
    pub fn open(protocol: u32, purpose: &'static str) -> Result<Self, NftError> {
        let failed = |source: rustix::io::Errno| NftError::Socket { purpose, source: source.into() };
        let number = std::num::NonZeroU32::new(protocol).map(rustix::net::Protocol::from_raw);
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, number)
            .map_err(failed)?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, 0)).map_err(failed)?;
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(ANSWER)).map_err(failed)?;
        // Both are wishes: what the kernel gives is enough for common policies.
        let _ = sockopt::set_socket_send_buffer_size(&fd, SEND_BUFFER);
        Ok(Self { fd, sequence: 0 })
    }

    /// Another handle on the same socket.
    ///
    /// # Errors
    /// The operating system's, when no descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, sequence: self.sequence })
    }

    /// Discards answers that another handle on the socket did not live to read, and the dump it was in.
    pub fn drain(&self) {
        let mut buffer = vec![0; RECEIVE_BUFFER];
        while rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::DONTWAIT).is_ok() {}
    }

    /// The next sequence number.
    pub fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    /// The most bytes that one message may have.
    pub fn send_limit(&self) -> usize {
        sockopt::socket_send_buffer_size(&self.fd).unwrap_or_default().saturating_sub(OVERHEAD)
    }

    /// Sends a finished buffer.
    ///
    /// # Errors
    /// [`NftError::TooLarge`] or [`NftError::Refused`].
    pub fn send(&self, buffer: &[u8], operation: &'static str) -> Result<(), NftError> {
        let limit = self.send_limit();
        if buffer.len() > limit {
            return Err(NftError::TooLarge { bytes: buffer.len(), limit });
        }
        let refused = |source: rustix::io::Errno| NftError::Refused { operation, source: source.into() };
        rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, buffer, SendFlags::empty())).map_err(refused)?;
        Ok(())
    }

    /// Sends `buffer` and waits for the acknowledgement of `last`; the first error that the kernel reports fails all.
    ///
    /// # Errors
    /// [`NftError::Refused`] with the kernel's error number.
    pub fn acknowledged(&self, buffer: &[u8], last: u32, operation: &'static str) -> Result<(), NftError> {
        self.send(buffer, operation)?;
        let mut answer = vec![0; RECEIVE_BUFFER];
        loop {
            let length = self.receive(&mut answer, operation)?;
            for message in message::split(&answer[..length]).filter(|message| message.kind == NLMSG_ERROR) {
                check(&message, operation)?;
                if message.sequence == last {
                    return Ok(());
                }
            }
        }
    }

    /// Sends one request that the kernel acknowledges.
    ///
    /// # Errors
    /// [`NftError::Refused`].
    pub fn request(
        &mut self,
        (kind, flags): (u16, u16),
        operation: &'static str,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), NftError> {
        let sequence = self.next_sequence();
        let mut buffer = Vec::new();
        message::append(&mut buffer, kind, flags | NLM_F_ACK, sequence, fill);
        self.acknowledged(&buffer, sequence, operation)
    }

    /// Sends a finished request and hands every answer to `each` until the dump or the one answer ends.
    ///
    /// Returns false when the kernel says that the data changed meanwhile.
    ///
    /// # Errors
    /// [`NftError::Refused`], or the error of `each`.
    pub fn collect(
        &self,
        buffer: &[u8],
        sequence: u32,
        operation: &'static str,
        mut each: impl FnMut(&Message<'_>) -> Result<(), NftError>,
    ) -> Result<bool, NftError> {
        self.send(buffer, operation)?;
        let mut answer = vec![0; RECEIVE_BUFFER];
        let mut consistent = true;
        loop {
            let length = self.receive(&mut answer, operation)?;
            for message in message::split(&answer[..length]).filter(|message| message.sequence == sequence) {
                consistent &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_DONE => return Ok(consistent),
                    NLMSG_ERROR => return check(&message, operation).map(|()| consistent),
                    _ => each(&message)?,
                }
            }
        }
    }

    fn receive(&self, buffer: &mut [u8], operation: &'static str) -> Result<usize, NftError> {
        let refused = |source: io::Error| NftError::Refused { operation, source };
        let received = rustix::io::retry_on_intr(|| rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::TRUNC));
        let (length, real) = received.map_err(|errno| match errno {
            rustix::io::Errno::AGAIN => refused(io::ErrorKind::TimedOut.into()),
            other => refused(other.into()),
        })?;
        if real > length { Err(NftError::Malformed("a message is larger than the buffer")) } else { Ok(length) }
    }
}

/// The error number of an acknowledgement; 0 means success.
fn check(message: &Message<'_>, operation: &'static str) -> Result<(), NftError> {
    let code = message.body.get(..4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(NftError::Refused { operation, source: io::Error::from_raw_os_error(code.saturating_neg()) }),
        None => Err(NftError::Malformed("an acknowledgement has no error number")),
    }
}
