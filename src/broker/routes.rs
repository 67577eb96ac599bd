//! The route table made ready for use: parsed origins, header names, path prefixes; and kept fresh while serving.
//!
//! Invariants: a table is used whole or not at all; while a changed file cannot be used, the last good table stays. The
//! file is looked at no more than once a second.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::{HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Uri};
use wire::denial::{self, Denial};
use wire::route::{DYNAMIC, Route, RouteError};

use crate::endpoint::Endpoint;
use crate::fault::BrokerError;

const LOOK_AGAIN: Duration = Duration::from_secs(1);
const SIZE_LIMIT: u64 = 4 * 1024 * 1024;

/// Where a connection goes: the key of the connection pool.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Speak TLS.
    pub tls: bool,
    /// Host without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A base URL: an origin, the `Host` value that goes with it, and the path that precedes every request path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The origin.
    pub origin: Arc<Origin>,
    /// Value of the `Host` header.
    pub host: HeaderValue,
    /// Path without its final slashes; empty for the root.
    pub base: String,
}

impl Upstream {
    /// Parses `http://` and `https://` URLs; refuses user information.
    ///
    /// # Errors
    /// A text saying what is wrong with the URL.
    pub fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|e| format!("`{url}` is not a URL ({e})"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(format!("`{url}` has no scheme or no host"));
        };
        let tls = scheme == &Scheme::HTTPS;
        if !tls && scheme != &Scheme::HTTP {
            return Err(format!("`{url}` is neither http nor https"));
        }
        if authority.as_str().contains('@') {
            return Err("a URL must not carry a user name or password".into());
        }
        let origin = Origin {
            tls,
            host: bare_host(authority).to_owned(),
            port: port_of(authority, tls).ok_or_else(|| format!("`{url}` has a bad port"))?,
        };
        Ok(Self {
            host: HeaderValue::from_str(authority.as_str()).map_err(|_| format!("`{url}` has a bad host"))?,
            origin: Arc::new(origin),
            base: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The target below this base for a request path with its query, byte for byte.
    pub fn target(&self, request: &PathAndQuery) -> Option<PathAndQuery> {
        if self.base.is_empty() {
            return Some(request.clone());
        }
        PathAndQuery::try_from(format!("{}{}", self.base, request.as_str())).ok()
    }
}

fn bare_host(authority: &Authority) -> &str {
    let host = authority.host();
    host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
}

fn port_of(authority: &Authority, tls: bool) -> Option<u16> {
    let after_host = &authority.as_str()[authority.host().len()..];
    match after_host.strip_prefix(':') {
        None => Some(if tls { 443 } else { 80 }),
        Some(digits) => digits.parse().ok(),
    }
}

/// How the real credential is presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthStyle {
    /// A fixed header and prefix.
    Fixed(HeaderName, String),
    /// `x-api-key` for keys, bearer for OAuth.
    Dynamic,
}

/// One provider's route, ready for use.
#[derive(Debug, Clone)]
pub struct LiveRoute {
    main: Upstream,
    by_prefix: Vec<(String, Upstream)>,
    /// Presentation of keys and tokens.
    pub auth: AuthStyle,
    /// Headers merged in for OAuth credentials.
    pub oauth_extra: HeaderMap,
    /// Where logins are refreshed.
    pub refresh: Option<Endpoint>,
    deny: Vec<Denial>,
}

impl LiveRoute {
    fn compile(route: &Route) -> Result<Self, String> {
        let mut by_prefix = Vec::new();
        for (prefix, url) in &route.path_upstreams {
            by_prefix.push((prefix.clone(), Upstream::parse(url)?));
        }
        // Longest first, so that the first match is the most specific one.
        by_prefix.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        let auth = if route.auth_header == DYNAMIC {
            AuthStyle::Dynamic
        } else {
            AuthStyle::Fixed(header_name(&route.auth_header)?, route.auth_prefix.clone())
        };
        let mut oauth_extra = HeaderMap::new();
        for (name, value) in &route.oauth_extra_headers {
            let value = HeaderValue::from_str(value)
                .map_err(|_| format!("the value of extra header `{name}` cannot be sent"))?;
            oauth_extra.insert(header_name(name)?, value);
        }
        // An endpoint that is off costs the refreshing, not the table.
        let refresh = route.oauth_refresh.as_ref().and_then(|refresh| match Endpoint::prepare(refresh) {
            Ok(endpoint) => Some(endpoint),
            Err(why) => {
                tracing::warn!("logins are not refreshed: {why}");
                None
            }
        });
        let deny = route.deny.iter().map(|text| Denial::parse(text)).collect::<Result<_, _>>()?;
        Ok(Self { main: Upstream::parse(&route.upstream)?, by_prefix, auth, oauth_extra, refresh, deny })
    }

    /// True when a request must not go up: its endpoint is denied, as the client or as the upstream spells the path.
    pub fn denies(&self, method: &str, path: &str) -> bool {
        if self.deny.is_empty() {
            return false;
        }
        let mut readings = denial::readings(path);
        let base = &self.upstream_for(path).base;
        if !base.is_empty() {
            readings.extend(denial::readings(&format!("{base}{path}")));
        }
        self.deny.iter().any(|denial| denial.covers(method, &readings))
    }

    /// The upstream for a request path.
    pub fn upstream_for(&self, path: &str) -> &Upstream {
        self.by_prefix
            .iter()
            .find(|(prefix, _)| prefix_matches(prefix, path))
            .map_or(&self.main, |(_, upstream)| upstream)
    }
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    name.parse().map_err(|_| format!("`{name}` is not a header name"))
}

/// True at a segment border only: `/v1` covers `/v1` and `/v1/x`, not `/v10`; `/v1/` does not cover `/v1`.
fn prefix_matches(prefix: &str, path: &str) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}

/// All routes by provider.
pub type LiveTable = HashMap<String, Arc<LiveRoute>>;

fn compile(text: &[u8]) -> Result<LiveTable, RouteError> {
    let mut table = LiveTable::new();
    let raw: serde_json::Value = serde_json::from_slice(text).map_err(RouteError::Syntax)?;
    for (provider, route) in wire::route::parse(text)? {
        if route.oauth_refresh.is_none() && !raw[&provider]["oauth_refresh"].is_null() {
            tracing::warn!(%provider, "the route's `oauth_refresh` is not usable; logins are not refreshed");
        }
        let live = LiveRoute::compile(&route).map_err(|why| RouteError::Member { provider: provider.clone(), why })?;
        table.insert(provider, Arc::new(live));
    }
    Ok(table)
}

/// What tells one version of the file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let meta = std::fs::metadata(path).ok()?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        })
    }
}

struct Loaded {
    table: LiveTable,
    stamp: Option<Stamp>,
    looked: Instant,
}

/// The route table of one file.
pub struct RouteBook {
    path: PathBuf,
    loaded: Mutex<Loaded>,
}

impl RouteBook {
    /// Reads the table.
    ///
    /// # Errors
    /// [`BrokerError::ReadRoutes`] or [`BrokerError::Routes`].
    pub fn open(path: &Path) -> Result<Self, BrokerError> {
        let stamp = Stamp::of(path);
        let table = read(path)?;
        Ok(Self { path: path.to_owned(), loaded: Mutex::new(Loaded { table, stamp, looked: Instant::now() }) })
    }

    /// The route of a provider, by the newest good table.
    pub fn route(&self, provider: &str) -> Option<Arc<LiveRoute>> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.looked.elapsed() >= LOOK_AGAIN {
            self.refresh(&mut loaded);
        }
        loaded.table.get(provider).cloned()
    }

    fn refresh(&self, loaded: &mut Loaded) {
        loaded.looked = Instant::now();
        let stamp = Stamp::of(&self.path);
        if stamp == loaded.stamp {
            return;
        }
        loaded.stamp = stamp;
        match read(&self.path) {
            Ok(table) => loaded.table = table,
            Err(error) => {
                let cause = base::fault::explain(&error);
                tracing::warn!(%cause, "the changed route table is not used; the former one stays");
            }
        }
    }
}

fn read(path: &Path) -> Result<LiveTable, BrokerError> {
    let text = base::file::read_regular(path, SIZE_LIMIT)
        .map_err(|source| BrokerError::ReadRoutes { path: path.to_owned(), source })?;
    compile(&text).map_err(|source| BrokerError::Routes { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_at_segments() {
        let cases: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/broker/upstream_choice.json")).unwrap();
        let text = serde_json::to_vec(&cases["routes"]).unwrap();
        let table = compile(&text).unwrap();
        for case in cases["cases"].as_array().unwrap() {
            let target: PathAndQuery = case["path"].as_str().unwrap().parse().unwrap();
            let upstream = table["p"].upstream_for(target.path());
            let scheme = if upstream.origin.tls { "https" } else { "http" };
            let url = format!(
                "{scheme}://{}:{}{}",
                upstream.origin.host,
                upstream.origin.port,
                upstream.target(&target).unwrap()
            );
            assert_eq!(url, case["url"].as_str().unwrap(), "{case}");
        }
    }

    #[test]
    fn unusable_routes_are_named() {
        for bad in [
            r#"{"upstream": "https://u:p@h"}"#,
            r#"{"upstream": "https://h:99999"}"#,
            r#"{"upstream": "https://h", "auth_header": "a b"}"#,
            r#"{"upstream": "https://h", "path_upstreams": {"/x": "http://u@h"}}"#,
            "{\"upstream\": \"https://h\", \"oauth_extra_headers\": {\"x\": \"a\\nb\"}}",
        ] {
            let error = compile(format!("{{\"p\": {bad}}}").as_bytes()).unwrap_err();
            assert!(matches!(&error, RouteError::Member { provider, .. } if provider == "p"), "{bad}: {error}");
        }
    }

    // improves: 21-5.3-routes-reloaded
    #[test]
    fn a_changed_file_is_taken_when_it_is_good() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("routes.json");
        std::fs::write(&path, r#"{"a": {"upstream": "https://a"}}"#).unwrap();
        let book = RouteBook::open(&path).unwrap();
        let reread = |text: &str| {
            std::fs::write(&path, text).unwrap();
            book.loaded.lock().unwrap().looked -= LOOK_AGAIN;
            (book.route("a").is_some(), book.route("bb").is_some())
        };
        assert_eq!(reread("not a table"), (true, false));
        assert_eq!(reread(r#"{"bb": {"upstream": "https://b"}}"#), (false, true));
        std::fs::remove_file(&path).unwrap();
        book.loaded.lock().unwrap().looked -= LOOK_AGAIN;
        assert!(book.route("bb").is_some());
        assert!(matches!(RouteBook::open(&path), Err(BrokerError::ReadRoutes { .. })));
    }
}
