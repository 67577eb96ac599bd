//! Tells one state of a file from another, so that what was read of it can be used again.
//!
//! A stamp is device, inode, size, and the times at which content and inode changed. Equal stamps mean the same content,
//! provided that the first was settled when the file was read: within the grain of the file system's clock a file can
//! change once more without its stamp showing it.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Coarser than the clocks that count fractions of a second.
const GRAIN: Duration = Duration::from_millis(200);
/// Coarser than the clocks that count seconds, some of them only every other one.
const WHOLE_SECONDS: Duration = Duration::from_secs(3);

/// One state of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds since 1970: of the content, and of the inode.
    times: [(i64, u64); 2],
}

impl Stamp {
    /// The state of what `path` leads to.
    ///
    /// # Errors
    /// The operating system's.
    pub fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::of_file(&std::fs::metadata(path)?))
    }

    /// The state that was looked up already.
    pub fn of_file(about: &std::fs::Metadata) -> Self {
        let nanos = |rest: i64| rest.unsigned_abs();
        let times = [(about.mtime(), nanos(about.mtime_nsec())), (about.ctime(), nanos(about.ctime_nsec()))];
        Self { device: about.dev(), inode: about.ino(), size: about.size(), times }
    }

    /// The state that was looked up through a descriptor.
    pub fn of_stat(found: &rustix::fs::Stat) -> Self {
        let times = [(found.st_mtime, found.st_mtime_nsec), (found.st_ctime, found.st_ctime_nsec)];
        Self { device: found.st_dev, inode: found.st_ino, size: found.st_size.unsigned_abs(), times }
    }

    /// True when every change that is made from now on will be seen in the stamp.
    pub fn is_settled(&self) -> bool {
        let grain = if self.times.iter().all(|(_, nanos)| *nanos == 0) { WHOLE_SECONDS } else { GRAIN };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let limit = now.saturating_sub(grain);
        let limit = (limit.as_secs().cast_signed(), u64::from(limit.subsec_nanos()));
        self.times.iter().all(|time| *time < limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_shows_once_the_stamp_is_settled() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "1").unwrap();
        let first = Stamp::of(&path).unwrap();
        std::thread::sleep(GRAIN + Duration::from_millis(20));
        assert!(first.is_settled());
        std::fs::write(&path, "2").unwrap();
        assert_ne!(Stamp::of(&path).unwrap(), first);
    }

    #[test]
    fn ways_to_look_agree() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let stamp = Stamp::of(file.path()).unwrap();
        assert_eq!(Stamp::of_file(&file.as_file().metadata().unwrap()), stamp);
        assert_eq!(Stamp::of_stat(&rustix::fs::fstat(file.as_file()).unwrap()), stamp);
    }

    #[test]
    fn whole_seconds_settle_later() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().cast_signed();
        let of = |seconds, nanos| Stamp { device: 1, inode: 1, size: 1, times: [(seconds, nanos); 2] };
        // With room for a machine that does something else in between.
        assert!(of(now - 2, 1).is_settled() && !of(now - 1, 0).is_settled() && of(now - 5, 0).is_settled());
        assert!(!of(now + 60, 1).is_settled());
    }
}
