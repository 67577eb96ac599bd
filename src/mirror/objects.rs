//! How many objects a repository has in packs, read from the heads of their indices: no process, a few bytes for each pack.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Where the last entry of the fan-out table lies in an index of version 2: the number of its objects.
const LAST: u64 = 8 + 255 * 4;

/// The number of packed objects; an object in two packs counts twice, and what cannot be read counts nothing.
pub fn packed(repository: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(repository.join("objects/pack")) else { return 0 };
    let indices =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "idx"));
    indices.filter_map(|path| in_index(&path)).sum()
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
    }
}
