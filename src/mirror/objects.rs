//! How many objects a repository has in packs, read from the heads of their indices: no process, a few bytes for each pack.
//!
//! Invariant: what git needs for a repository follows from what its upstream has, not from what containers pushed. The
//! number is written down when the mirror is made, and not changed by what comes later.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::fault::{MirrorError, io};

/// Where the last entry of the fan-out table lies in an index of version 2: the number of its objects.
const LAST: u64 = 8 + 255 * 4;

/// The number of packed objects; an object in two packs counts twice, and what cannot be read counts nothing.
pub fn packed(repository: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(repository.join("objects/pack")) else { return 0 };
    let indices =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "idx"));
    indices.filter_map(|path| in_index(&path)).sum()
}

/// Memory that git needs to make a pack: for each object of the repository, and apart from these.
const PER_OBJECT: u64 = 256;
const BESIDES: u64 = 64 << 20;
/// How much an upstream may grow after its mirror was made.
const GROWTH: u64 = 2;
/// Where the number is written down.
const RECORD: &str = "terok-objects";

/// Bytes of memory that git needs to put a pack of everything in the repository together.
pub fn memory(repository: &Path) -> u64 {
    BESIDES + PER_OBJECT * packed(repository)
}

/// The same for what the upstream had when the mirror was made; nothing for a mirror that does not say so.
pub fn memory_of_upstream(repository: &Path) -> u64 {
    let text = fs::read_to_string(repository.join(RECORD)).unwrap_or_default();
    text.trim().parse::<u32>().map_or(0, |objects| BESIDES + GROWTH * PER_OBJECT * u64::from(objects))
}

/// Writes the number down, once.
///
/// # Errors
/// [`MirrorError::Io`].
pub(crate) fn record(repository: &Path) -> Result<(), MirrorError> {
    let file = repository.join(RECORD);
    if file.exists() {
        return Ok(());
    }
    base::file::write_private(&file, format!("{}\n", packed(repository)).as_bytes()).map_err(io("write", &file))
}

fn in_index(path: &Path) -> Option<u64> {
    let file = File::open(path).ok()?;
    let (mut magic, mut count) = ([0; 4], [0; 4]);
    file.read_exact_at(&mut magic, 0).ok()?;
    file.read_exact_at(&mut count, LAST).ok()?;
    (magic == *b"\xfftOc").then(|| u64::from(u32::from_be_bytes(count)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn objects_in_packs_are_counted() {
        let stage = crate::stage::Stage::new();
        stage.commit("main", "a/b", "1");
        let upstream = stage.path("upstream.git");
        assert_eq!(super::packed(&upstream), 0);
        stage.upstream(&["repack", "-adq"]);
        assert_eq!(super::packed(&upstream), 4);
        // The mirror remembers what its upstream had, whatever is pushed.
        stage.sync().unwrap();
        let before = super::memory_of_upstream(&stage.mirror);
        stage.push("more", "c", "2");
        stage.git(&stage.mirror, &["repack", "-adq"]);
        stage.sync().unwrap();
        assert_eq!(super::memory_of_upstream(&stage.mirror), before);
        assert!(before >= super::BESIDES && super::memory(&stage.mirror) > super::memory(&upstream));
    }
}
