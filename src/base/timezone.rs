//! The host's time zone as an IANA name.
//!
//! Order: `TZ`, `/etc/timezone`, the target of `/etc/localtime`. A value that is not a plain zone name (a rule, a foreign
//! path, undecodable bytes) is passed over; `posix/` and `right/` variants are reported without that prefix.

use std::path::Path;

/// The zone of this host, if it can be told.
pub fn detect() -> Option<String> {
    detect_in(crate::env::text("TZ").as_deref(), Path::new("/"))
}

/// As [`detect`], with the value of `TZ` and the file system's root given.
pub fn detect_in(tz: Option<&str>, root: &Path) -> Option<String> {
    tz.and_then(zone).or_else(|| zone(std::fs::read_to_string(root.join("etc/timezone")).ok()?.trim())).or_else(|| {
        let link = root.join("etc/localtime");
        // The first hop is what the administrator chose; some zones are links to others.
        [link.read_link(), link.canonicalize()]
            .into_iter()
            .filter_map(|target| target.ok()?.into_os_string().into_string().ok())
            .find(|text| text.contains("/zoneinfo/"))
            .and_then(|text| zone(&text))
    })
}

/// The zone name inside `text`, which may be a name, `:name`, or a path into a zoneinfo directory.
fn zone(text: &str) -> Option<String> {
    let text = text.strip_prefix(':').unwrap_or(text);
    let name = text.split_once("/zoneinfo/").map_or(text, |(_, name)| name);
    let name = ["posix/", "right/"].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+/-".contains(&b));
    (plain && !name.is_empty() && !name.starts_with(['/', '-'])).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_variable_wins_when_it_is_a_name() {
        let empty = tempfile::tempdir().unwrap();
        for (tz, found) in [
            ("Asia/Tokyo", Some("Asia/Tokyo")),
            (":Europe/Paris", Some("Europe/Paris")),
            (":/usr/share/zoneinfo/posix/America/Indiana/Knox", Some("America/Indiana/Knox")),
            ("right/UTC", Some("UTC")),
            ("Etc/GMT+3", Some("Etc/GMT+3")),
            ("CET-1CEST,M3.5.0,M10.5.0/3", None),
            ("/etc/localtime", None),
            ("../etc/passwd", None),
            ("a b", None),
            ("", None),
        ] {
            assert_eq!(detect_in(Some(tz), empty.path()).as_deref(), found, "{tz}");
        }
    }

    #[test]
    fn files_are_the_fallback() {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc");
        let zones = root.path().join("var/db/timezone/zoneinfo/Asia");
        std::fs::create_dir_all(&etc).unwrap();
        std::fs::create_dir_all(&zones).unwrap();
        std::fs::write(zones.join("Tokyo"), "").unwrap();
        symlink(zones.join("Tokyo"), etc.join("localtime")).unwrap();
        assert_eq!(detect_in(Some("bad zone"), root.path()).as_deref(), Some("Asia/Tokyo"));
        for useless in [&b" \n"[..], b"\xff\xfe", b"a b\n"] {
            std::fs::write(etc.join("timezone"), useless).unwrap();
            assert_eq!(detect_in(None, root.path()).as_deref(), Some("Asia/Tokyo"));
        }
        std::fs::write(etc.join("timezone"), "Europe/Oslo\n").unwrap();
        assert_eq!(detect_in(None, root.path()).as_deref(), Some("Europe/Oslo"));
        std::fs::remove_file(etc.join("timezone")).unwrap();
        std::fs::remove_file(etc.join("localtime")).unwrap();
        symlink("/somewhere/else", etc.join("localtime")).unwrap();
        assert_eq!(detect_in(None, root.path()), None);
    }
}
