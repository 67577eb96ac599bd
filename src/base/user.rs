//! Who we are on the host: inside a user namespace uid 0 is not root.

use std::sync::OnceLock;

/// The uid that `inner` has in the parent user namespace, read from a `uid_map` text; `inner` when no row covers it.
pub fn map_uid(uid_map: &str, inner: u32) -> u32 {
    uid_map
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().map(|f| f.parse::<u32>().ok());
            Some((fields.next()??, fields.next()??, fields.next()??))
        })
        .find(|(start, _, length)| inner >= *start && inner - start < *length)
        .map_or(inner, |(start, outer, _)| outer + (inner - start))
}

/// Our effective uid.
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Our effective uid as the host sees it.
///
/// The table is read once: no process of ours changes its user namespace after it has asked.
pub fn host_uid() -> u32 {
    static TABLE: OnceLock<Option<String>> = OnceLock::new();
    let inner = effective_uid();
    let table = TABLE.get_or_init(|| std::fs::read_to_string("/proc/self/uid_map").ok());
    table.as_ref().map_or(inner, |table| map_uid(table, inner))
}

/// The login name of `uid`, if the user database has one.
pub fn name_of(uid: u32) -> Option<String> {
    let found = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid));
    Some(found.ok()??.name)
}

/// True when we are root on the host, not only inside a user namespace.
pub fn is_really_root() -> bool {
    host_uid() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps() {
        for (map, inner, outer) in [
            ("0 1000 1\n1 100000 65536", 0, 1000),
            ("0 1000 1\n1 100000 65536", 5, 100_004),
            ("         0          0 4294967295", 0, 0),
            ("0 0 4294967295", 1234, 1234),
            ("", 7, 7),
            ("garbage", 7, 7),
        ] {
            assert_eq!(map_uid(map, inner), outer, "{map:?} {inner}");
        }
    }
}
