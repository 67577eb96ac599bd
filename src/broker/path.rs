//! Request paths: which ones can be routed safely, and where a redirect leads.
//!
//! Paths are passed on byte for byte; what is refused is a path that climbs, however the dots are spelled, because an
//! upstream may resolve it after we have chosen the base path and the credential.

use http::Uri;
use http::uri::PathAndQuery;

use crate::routes::Upstream;

/// True when the path starts at the root and none of its segments is `.` or `..`, in whatever spelling.
pub fn is_safe(path: &str) -> bool {
    path.starts_with('/') && !wire::denial::climbs(path)
}

/// Resolves a `Location` value against the URL that sent it. `None` when it leads nowhere we would go: another scheme,
/// a URL with user information, or from TLS to plain text.
pub fn redirect_target(from: &Upstream, at: &PathAndQuery, location: &str) -> Option<(Upstream, PathAndQuery)> {
    let location = location.split('#').next()?;
    if let Some(rest) = location.strip_prefix("//") {
        let scheme = if from.origin.tls { "https" } else { "http" };
        return absolute(from, &format!("{scheme}://{rest}"));
    }
    if location.starts_with('/') {
        return Some((root_of(from), location.parse().ok()?));
    }
    let scheme_end = location.find([':', '/', '?']);
    if scheme_end.is_some_and(|i| location.as_bytes()[i] == b':') {
        return absolute(from, location);
    }
    Some((root_of(from), relative(at.path(), location).parse().ok()?))
}

fn absolute(from: &Upstream, url: &str) -> Option<(Upstream, PathAndQuery)> {
    let target = Upstream::parse(url).ok()?;
    if from.origin.tls && !target.origin.tls {
        return None;
    }
    let uri: Uri = url.parse().ok()?;
    let path = uri.path_and_query().cloned();
    Some((root_of(&target), path.unwrap_or_else(|| PathAndQuery::from_static("/"))))
}

fn root_of(upstream: &Upstream) -> Upstream {
    Upstream { base: String::new(), ..upstream.clone() }
}

/// Merges a relative reference with the path it was found at and resolves its dot segments.
fn relative(base: &str, reference: &str) -> String {
    if reference.is_empty() || reference.starts_with('?') {
        return format!("{base}{reference}");
    }
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let parent = &base[..base.rfind('/').unwrap_or(0)];
    let joined = format!("{parent}/{path}");
    let mut kept: Vec<&str> = Vec::new();
    let mut open_end = false;
    for segment in joined.split('/').skip(1) {
        open_end = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let mut out = format!("/{}", kept.join("/"));
    if open_end && !out.ends_with('/') {
        out.push('/');
    }
    if let Some(query) = query {
        out = format!("{out}?{query}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    // improves: 21-5.7-dot-segments
    #[test]
    fn climbing_paths_are_refused() {
        for path in [
            "/..",
            "/a/../b",
            "/backend-api/../v1",
            "/a/%2e%2e/b",
            "/a/%2E./b",
            "/a/./b",
            "/a/%2e",
            "/a/..%2Fb",
            "/a%2f..%2fb",
            "/a\\..\\b",
            "/a/..%5Cb",
            "/a/%252e%252e/b",
            "/a/..;/b",
            "*",
            "",
        ] {
            assert!(!is_safe(path), "{path}");
        }
        for path in ["/", "//evil/x", "/g%2Fr", "/...", "/a..b", "/%", "/%2", "/a.b/.git", "/%zz"] {
            assert!(is_safe(path), "{path}");
        }
    }

    #[test]
    fn redirects_resolve() {
        let at: PathAndQuery = "/a/b/c?q".parse().unwrap();
        let lead = |from: &str, location: &str| {
            redirect_target(&Upstream::parse(from).unwrap(), &at, location)
                .map(|(u, p)| format!("{} {} {p}", u.origin.tls, u.host.to_str().unwrap()))
        };
        let https = |location| lead("https://h/base", location);
        assert_eq!(https("https://o:1/x?y#z").unwrap(), "true o:1 /x?y");
        assert_eq!(https("https://o").unwrap(), "true o /");
        assert_eq!(https("//o/x").unwrap(), "true o /x");
        assert_eq!(https("/x").unwrap(), "true h /x");
        assert_eq!(https("x?y:z").unwrap(), "true h /a/b/x?y:z");
        assert_eq!(https("../x").unwrap(), "true h /a/x");
        assert_eq!(https("../..").unwrap(), "true h /");
        assert_eq!(https("?n").unwrap(), "true h /a/b/c?n");
        assert_eq!(lead("http://h", "https://o/x").unwrap(), "true o /x");
        for refused in ["http://o/x", "ftp://o", "file:///etc/passwd", "https://u:p@o/x", "https://"] {
            assert_eq!(https(refused), None, "{refused}");
        }
    }
}
