//! Endpoints of a provider that a container must not reach: those that mint, rotate, list or reveal credentials.
//!
//! A denial is `[METHOD[,METHOD]… ]/path`. In the path `*` stands for one segment and `**` for any number of them; a
//! denial covers its path and everything below it, and without methods all of them.
//!
//! Invariants: a path is judged in every reading that a server may have of it: percent-decoded any number of times, in
//! any case, with doubled or final slashes, backslashes, `;parameters`, dot segments and extensions such as `.json`.

/// Times a path is decoded; what is still encoded afterwards no server reads as anything else.
const MAX_DECODINGS: usize = 4;

/// One denied endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    methods: Vec<String>,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    One,
    Many,
    Literal(String),
}

impl Denial {
    /// Reads a denial.
    ///
    /// # Errors
    /// A text saying what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (methods, path) = text.rsplit_once(' ').unwrap_or(("", text));
        let is_method = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase());
        let methods: Vec<&str> = if methods.is_empty() { Vec::new() } else { methods.split(',').collect() };
        if !methods.iter().all(is_method) {
            return Err(format!("denial `{text}` does not begin with methods in upper case"));
        }
        let Some(path) = path.strip_prefix('/').filter(|path| !path.is_empty()) else {
            return Err(format!("denial `{text}` has no path that begins with `/`"));
        };
        let segments = path.trim_end_matches('/').split('/').map(|segment| match segment {
            "" | "." | ".." => Err(format!("denial `{text}` has an empty or dot segment")),
            "*" => Ok(Segment::One),
            "**" => Ok(Segment::Many),
            literal if literal.contains(['*', '%', ';', '\\']) => {
                Err(format!("denial `{text}` has `{literal}` where a plain word, `*` or `**` is expected"))
            }
            literal => Ok(Segment::Literal(literal.to_lowercase())),
        });
        Ok(Self {
            methods: methods.into_iter().map(str::to_owned).collect(),
            segments: segments.collect::<Result<_, _>>()?,
        })
    }

    /// True when a request with this method and a path with these readings is denied.
    pub fn covers(&self, method: &str, readings: &[Vec<String>]) -> bool {
        let by_method = self.methods.is_empty() || self.methods.iter().any(|name| name.eq_ignore_ascii_case(method));
        by_method && readings.iter().any(|path| begins_with(path, &self.segments))
    }
}

fn begins_with(path: &[String], pattern: &[Segment]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, _) => true,
        (Some((Segment::Many, rest)), _) => (0..=path.len()).any(|skipped| begins_with(&path[skipped..], rest)),
        (_, None) => false,
        (Some((Segment::One, rest)), Some((_, below))) => begins_with(below, rest),
        (Some((Segment::Literal(word), rest)), Some((segment, below))) => {
            is_word(segment, word) && begins_with(below, rest)
        }
    }
}

/// True for the word itself and for the word with an extension.
fn is_word(segment: &str, word: &str) -> bool {
    segment.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The path as different servers read it: its segments, in lower case.
pub fn readings(path: &str) -> Vec<Vec<String>> {
    // Encoded slashes are a part of their segment first.
    let mut out = vec![segments(path, decode_fully)];
    let mut text = path.as_bytes().to_vec();
    for _ in 0..MAX_DECODINGS {
        let reading = segments(&String::from_utf8_lossy(&text), str::to_owned);
        if !out.contains(&reading) {
            out.push(reading);
        }
        let next = decode(&text);
        if next == text {
            break;
        }
        text = next;
    }
    out
}

/// True when the path has a dot segment in any reading; such a path climbs out of where it seems to be.
pub fn climbs(path: &str) -> bool {
    let mut text = path.as_bytes().to_vec();
    for _ in 0..=MAX_DECODINGS {
        let split = text.split(|byte| matches!(byte, b'/' | b'\\'));
        if split.into_iter().any(|segment| is_dots(segment.split(|byte| *byte == b';').next().unwrap_or_default())) {
            return true;
        }
        let next = decode(&text);
        if next == text {
            return false;
        }
        text = next;
    }
    // Nothing honest is encoded so often.
    true
}

fn is_dots(segment: &[u8]) -> bool {
    matches!(segment, b"." | b"..")
}

fn segments(path: &str, decoded: impl Fn(&str) -> String) -> Vec<String> {
    let mut out = Vec::new();
    for segment in path.split(['/', '\\']) {
        let text = decoded(segment);
        let text = text.split(';').next().unwrap_or_default();
        let text = text.trim_matches(|sign: char| sign.is_whitespace() || sign.is_control());
        match text {
            "" | "." => {}
            ".." => drop(out.pop()),
            text => out.push(text.trim_end_matches('.').to_lowercase()),
        }
    }
    out
}

fn decode_fully(segment: &str) -> String {
    let mut text = segment.as_bytes().to_vec();
    for _ in 0..MAX_DECODINGS {
        text = decode(&text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Percent-decodes once; a broken escape stays as it is.
fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        match pair.and_then(hex_pair) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

fn hex_pair(pair: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(denial: &str, method: &str, path: &str) -> bool {
        Denial::parse(denial).unwrap().covers(method, &readings(path))
    }

    // holds: credential-endpoints-denied
    #[test]
    fn denial_covers_every_spelling_of_its_path() {
        for path in [
            "/user/keys",
            "/user/keys/",
            "/user/keys/7",
            "//user//keys",
            "/USER/Keys",
            "/user/keys.json",
            "/user/%6b%65%79%73",
            "/user/%256b%2565%2579%2573",
            "/user%2fkeys",
            "/user%252Fkeys",
            "/user\\keys",
            "/user/keys;a=b",
            "/user;x/keys",
            "/x/../user/keys",
            "/x/%2e%2e/user/keys",
            "/x/..;/user/keys",
            "/user/./keys",
            "/user/keys%00",
            "/user/keys%20",
            "/user/keys.",
        ] {
            assert!(denied("/user/keys", "GET", path), "{path}");
        }
        for path in ["/", "/user", "/user/keystore", "/users/keys", "/repos/user/keys", "/user/k%zzeys", "/userkeys"] {
            assert!(!denied("/user/keys", "GET", path), "{path}");
        }
    }

    #[test]
    fn wildcards_and_methods() {
        for (denial, method, path, expected) in [
            ("/projects/*/tokens", "GET", "/projects/7/tokens/1", true),
            ("/projects/*/tokens", "GET", "/projects/group%2Fname/tokens", true),
            ("/projects/*/tokens", "GET", "/projects/tokens", false),
            ("/projects/*/tokens", "GET", "/projects/7/files/tokens", false),
            ("/a/**/keys", "GET", "/a/keys", true),
            ("/a/**/keys", "GET", "/a/b/c/keys/1", true),
            ("/a/**/keys", "GET", "/b/keys", false),
            ("POST,PUT /keys", "post", "/keys", true),
            ("POST,PUT /keys", "GET", "/keys", false),
        ] {
            assert_eq!(denied(denial, method, path), expected, "{denial} {method} {path}");
        }
    }

    #[test]
    fn malformed_denials_are_refused() {
        for text in ["", "/", "keys", "get /keys", "GET,, /keys", "/a//b", "/a/../b", "/a/%2e", "/a/b*", "GET keys"] {
            assert!(Denial::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn climbing_is_seen_through_every_encoding() {
        for path in
            ["/..", "/a/%2e%2e/b", "/a/%252e%252e/b", "/a/%25252e./b", "/a/..;/b", "/a/..%3bx/b", "/a\\..\\b", "/a/%2e"]
        {
            assert!(climbs(path), "{path}");
        }
        for path in ["/", "/a..b", "/...", "/a/.git", "/a%2520b", "/%zz%", "/a;b/c", "/v1.0/x"] {
            assert!(!climbs(path), "{path}");
        }
    }
}
