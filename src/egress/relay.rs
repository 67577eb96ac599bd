//! Moves bytes between two connections without keeping any: look, send, then take exactly what was sent.
//!
//! Back-pressure is the kernel's. One buffer serves all connections, because nothing is awaited while it is in use.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;

use rustix::net::{RecvFlags, SendFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::engine::Engine;
use crate::traffic::Grant;

const BUFFER: usize = 64 * 1024;

/// The buffer that all connections of a worker share.
#[derive(Clone)]
pub struct SharedBuffer(Rc<RefCell<Box<[u8]>>>);

impl Default for SharedBuffer {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(vec![0; BUFFER].into_boxed_slice())))
    }
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the container.
    Up,
    /// To the container.
    Down,
}

/// Moves bytes one way until the sender ends, and passes that end on.
///
/// # Errors
/// The operating system's.
pub async fn pump(
    engine: &Engine,
    name: &str,
    way: Way,
    from: &TcpStream,
    to: &TcpStream,
    buffer: &SharedBuffer,
) -> io::Result<()> {
    loop {
        from.readable().await?;
        match step(engine, name, way, from, to, buffer) {
            Ok(Step::Ended) => {
                let _ = rustix::net::shutdown(to, rustix::net::Shutdown::Write);
                return Ok(());
            }
            Ok(Step::Moved) => {}
            Ok(Step::Spent) => {
                engine.budget_is_spent(name);
                poll_fn(|cx| engine.inner.borrow_mut().traffic.wait(name, cx.waker())).await;
            }
            Ok(Step::Full) => to.writable().await?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

enum Step {
    Moved,
    Ended,
    /// The receiver takes nothing now.
    Full,
    /// The budget gives nothing now.
    Spent,
}

fn step(
    engine: &Engine,
    name: &str,
    way: Way,
    from: &TcpStream,
    to: &TcpStream,
    buffer: &SharedBuffer,
) -> io::Result<Step> {
    let mut buffer = buffer.0.borrow_mut();
    let seen = from.try_io(Interest::READABLE, || peek(from, &mut buffer))?;
    if seen == 0 {
        return Ok(Step::Ended);
    }
    let allowed = match way {
        Way::Down => seen,
        Way::Up => match engine.inner.borrow_mut().traffic.grant(name, seen, engine.settings.budget()) {
            Grant::Bytes(bytes) => bytes,
            Grant::Spent(_) => return Ok(Step::Spent),
        },
    };
    let sent = to.try_io(Interest::WRITABLE, || {
        Ok(rustix::net::send(to, &buffer[..allowed], SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?)
    });
    let sent = match sent {
        Ok(sent) => sent,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Step::Full),
        Err(error) => return Err(error),
    };
    take(from, &mut buffer[..sent])?;
    let mut inner = engine.inner.borrow_mut();
    match way {
        Way::Up => inner.traffic.sent(name, sent),
        Way::Down => inner.traffic.received(name, sent),
    }
    Ok(Step::Moved)
}

fn peek(from: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let (length, _) = rustix::net::recv(from, &mut *buffer, RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
    Ok(length)
}

/// Takes bytes that are known to be there out of the socket, without copying them.
fn take(from: impl AsFd, buffer: &mut [u8]) -> io::Result<()> {
    let mut left = buffer.len();
    while left > 0 {
        let (_, taken) = rustix::net::recv(&from, &mut buffer[..left], RecvFlags::TRUNC | RecvFlags::DONTWAIT)?;
        left = left.saturating_sub(taken.max(1));
    }
    Ok(())
}
