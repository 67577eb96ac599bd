//! Sizes as podman prints them for people.

/// The number of bytes at the start of a text such as `12.5MB (virtual 1.2GB)`; decimal units, or binary with an `i`.
pub fn leading_bytes(text: &str) -> Option<u64> {
    let text = text.trim_start();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let rest = text[digits..].trim_start();
    let unit = rest.split(|c: char| !c.is_ascii_alphabetic()).next()?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some((number * factor).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::leading_bytes;

    #[test]
    fn table() {
        for (text, bytes) in [
            ("12.5MB (virtual 1.23GB)", Some(12_500_000)),
            ("0B (virtual 241MB)", Some(0)),
            ("1MiB", Some(1_048_576)),
            ("1.5 kB", Some(1500)),
            ("2TiB x", Some(2_199_023_255_552)),
            ("not-a-size", None),
            ("12", None),
            ("12 furlongs", None),
            ("", None),
            ("1.2.3MB", None),
        ] {
            assert_eq!(leading_bytes(text), bytes, "{text:?}");
        }
    }
}
