//! Wakes somebody when a file appears in or goes from a folder.
//!
//! A hint, never the truth: events are drained and forgotten, and who was woken looks for himself. Where the kernel
//! gives no watch, nobody is ever woken, and looking from time to time has to do.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watched folders.
pub struct FolderWatch(Option<AsyncFd<OwnedFd>>);

impl FolderWatch {
    /// Watches what can be watched. Must run inside a runtime.
    pub fn on<'a>(folders: impl IntoIterator<Item = &'a Path>) -> Self {
        Self(watch(folders).ok())
    }

    /// Completes after something has changed.
    pub async fn changed(&self) {
        let Some(fd) = &self.0 else { return std::future::pending().await };
        let Ok(mut ready) = fd.readable().await else { return std::future::pending().await };
        let mut buffer = [0u8; 4096];
        while rustix::io::read(fd.get_ref(), &mut buffer).is_ok_and(|count| count > 0) {}
        ready.clear_ready();
    }
}

fn watch<'a>(folders: impl IntoIterator<Item = &'a Path>) -> std::io::Result<AsyncFd<OwnedFd>> {
    let fd = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let events = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM;
    for folder in folders {
        // One folder that cannot be watched is looked at from time to time only.
        let _ = add_watch(&fd, folder, events | WatchFlags::ONLYDIR);
    }
    // SAFETY: the descriptor is owned by what registers it, and always names the same open watch.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_new_a_renamed_and_a_removed_file_wake() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let watch = FolderWatch::on([dir.path(), Path::new("/nonexistent")]);
            let soon = async || tokio::time::timeout(Duration::from_secs(5), watch.changed()).await.is_ok();
            let quiet = async || tokio::time::timeout(Duration::from_millis(50), watch.changed()).await.is_err();
            assert!(quiet().await);
            base::file::write_private(&dir.path().join("a"), b"x").unwrap();
            assert!(soon().await);
            assert!(quiet().await, "events are drained");
            std::fs::remove_file(dir.path().join("a")).unwrap();
            assert!(soon().await);
        });
    }
}
