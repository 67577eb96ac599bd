//! Times as the files and names of tasks show them.

use std::time::{SystemTime, UNIX_EPOCH};

/// `2026-01-31T10:20:30.123456+00:00`.
pub fn iso(time: SystemTime) -> String {
    let (year, month, day, rest, micros) = parts(time);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}+00:00")
}

/// `20260131T102030123456Z`, for names that sort by time.
pub fn compact(time: SystemTime) -> String {
    let (year, month, day, rest, micros) = parts(time);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}{micros:06}Z")
}

/// Year, month, day, second of the day and microsecond; a clock before 1970 counts as 1970.
fn parts(time: SystemTime) -> (u64, u64, u64, u64, u32) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = base::clock::civil(since.as_secs() / 86_400);
    (year, month, day, since.as_secs() % 86_400, since.subsec_micros())
}
