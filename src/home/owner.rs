//! Ownership of what we create in folders that a container writes to.

use std::io;

use base::file::Dir;
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, Gid, Uid};

/// Uid and gid of the user in the container.
const DEV: u32 = 1000;

/// Gives an open file or directory to the container's user, when we are root and the container is not.
///
/// A rootless container maps its user to ours, so there is nothing to do then.
///
/// # Errors
/// The operating system's.
pub fn hand_over(fd: impl AsFd) -> io::Result<()> {
    match base::user::is_really_root() {
        true => Ok(rustix::fs::fchown(fd, Some(Uid::from_raw(DEV)), Some(Gid::from_raw(DEV)))?),
        false => Ok(()),
    }
}

/// As [`hand_over`], for one entry of a directory; of a link the link itself is given away.
///
/// # Errors
/// The operating system's.
pub fn hand_over_entry(dir: &Dir, name: impl rustix::path::Arg) -> io::Result<()> {
    let (uid, gid) = (Some(Uid::from_raw(DEV)), Some(Gid::from_raw(DEV)));
    match base::user::is_really_root() {
        true => Ok(rustix::fs::chownat(dir.as_fd(), name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?),
        false => Ok(()),
    }
}
