//! Counts the files of a checkout before it begins: ten small objects can stand for 10^8 files.
//!
//! Invariants: counting takes no more memory for more files, and ends at the bound.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use crate::fault::{MirrorError, io};
use crate::git::Git;

/// Most files and directories of a checkout; git holds some 500 bytes for each.
pub(crate) const MOST_FILES: u64 = 500_000;
/// Most bytes of all files of a checkout.
pub(crate) const MOST_BYTES: u64 = 32 << 30;

/// Longest entry that is held; more of it counts as another one.
const LONGEST: u64 = 8192;
const LIMIT: Duration = Duration::from_secs(120);

/// Makes sure that `commit` of the repository `git_dir` is no larger than the bounds.
///
/// # Errors
/// [`MirrorError::TooMuch`], or when git cannot be run.
pub(crate) fn check(git_dir: &Path, commit: &str) -> Result<(), MirrorError> {
    bounded(git_dir, commit, MOST_FILES, MOST_BYTES)
}

fn bounded(git_dir: &Path, commit: &str, files: u64, bytes: u64) -> Result<(), MirrorError> {
    let too_much = |most: String| Err(MirrorError::TooMuch { commit: commit.to_owned(), most });
    let (reader, writer) = std::io::pipe().map_err(io("count the files of", git_dir))?;
    let git = Git::at(git_dir, ["ls-tree", "-r", "-t", "-l", "-z", "--end-of-options", commit]).limit(LIMIT);
    let git = git.into_file(File::from(std::os::fd::OwnedFd::from(writer)));
    // Git ends when nothing reads on.
    let counting = std::thread::spawn(move || count(reader, files, bytes));
    let outcome = git.run();
    let (many, large) = counting.join().unwrap_or((files + 1, 0));
    if many > files {
        return too_much(format!("{files} files and directories"));
    }
    if large > bytes {
        return too_much(format!("{} GiB of files", bytes >> 30));
    }
    match outcome?.ok() {
        true => Ok(()),
        false => Err(MirrorError::Git { what: "count the files of a commit", complaint: commit.to_owned() }),
    }
}

/// Entries and their bytes, as far as they stay within the bounds and a little beyond.
fn count(output: impl Read, files: u64, bytes: u64) -> (u64, u64) {
    let (mut many, mut large) = (0, 0_u64);
    let mut output = BufReader::with_capacity(64 * 1024, output);
    let mut entry = Vec::new();
    while many <= files && large <= bytes {
        entry.clear();
        match output.by_ref().take(LONGEST).read_until(0, &mut entry) {
            Ok(1..) => {}
            _ => break,
        }
        many += 1;
        // Mode, kind, object and size are before the tab; a directory has no size.
        let facts = entry.split(|byte| *byte == b'\t').next().unwrap_or_default();
        let size = std::str::from_utf8(facts).ok().and_then(|text| text.split_whitespace().nth(3)?.parse().ok());
        large = large.saturating_add(size.unwrap_or(0));
    }
    (many, large)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::Stage;

    #[test]
    fn files_and_bytes_are_counted_up_to_the_bounds() {
        let stage = Stage::new();
        stage.commit("main", "a/b/c", "1234");
        let id = stage.commit("main", "d", "56789");
        let upstream = stage.path("upstream.git");
        // Two directories, two files, nine bytes.
        assert!(bounded(&upstream, &id, 4, 9).is_ok());
        for (files, bytes) in [(3, 9), (4, 8)] {
            assert!(matches!(bounded(&upstream, &id, files, bytes), Err(MirrorError::TooMuch { .. })));
        }
        assert!(matches!(bounded(&upstream, &"1".repeat(40), 4, 9), Err(MirrorError::Git { .. })));
    }
}
