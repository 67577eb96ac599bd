//! The route table (`routes.json`): which provider goes to which upstream, and how it wants to be authenticated.
//!
//! Refuses a table with any route that is off, naming the route, so that a typo never sends a key to the wrong place.

use std::collections::BTreeMap;

use base::fault::{Fault, Kind};
use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize};

use crate::denial::Denial;

/// Header value in a route that lets the broker choose by credential type.
pub const DYNAMIC: &str = "dynamic";

/// Where and how to refresh an OAuth credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OauthRefresh {
    /// Token endpoint.
    pub token_url: String,
    /// OAuth client.
    pub client_id: String,
    /// Requested scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Client secret, for confidential clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
}

/// One provider's route. Keys serialise in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Base URL; may carry a path.
    pub upstream: String,
    /// Header that carries the credential, or [`DYNAMIC`].
    #[serde(default = "authorization")]
    pub auth_header: String,
    /// What precedes the credential in the header.
    #[serde(default = "bearer")]
    pub auth_prefix: String,
    /// Other upstreams for some path prefixes.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub path_upstreams: IndexMap<String, String>,
    /// Headers added for OAuth credentials.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub oauth_extra_headers: IndexMap<String, String>,
    /// Refresh of OAuth credentials. One that is off counts as absent: it costs the refreshing, not the table.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "if_usable")]
    pub oauth_refresh: Option<OauthRefresh>,
    /// Endpoints that are refused, as [`crate::denial::Denial`] reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

fn if_usable<'de, D: Deserializer<'de>>(from: D) -> Result<Option<OauthRefresh>, D::Error> {
    let raw = serde_json::Value::deserialize(from)?;
    Ok(serde_json::from_value(raw).ok())
}

fn authorization() -> String {
    "Authorization".into()
}

fn bearer() -> String {
    "Bearer ".into()
}

/// All routes, keyed by provider, in roster order.
pub type RouteTable = IndexMap<String, Route>;

/// Why a route table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The text is not a JSON object of routes.
    #[error("the route table is not valid")]
    Syntax(#[source] serde_json::Error),
    /// One route is off.
    #[error("route `{provider}`: {why}")]
    Member {
        /// The provider.
        provider: String,
        /// What is wrong.
        why: String,
    },
}

impl Fault for RouteError {
    fn code(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "routes-syntax",
            Self::Member { .. } => "routes-member",
        }
    }
    fn hint(&self) -> Option<String> {
        Some("write the table anew with `terok-executor vault routes`".into())
    }
    fn kind(&self) -> Kind {
        Kind::Value
    }
}

/// Parses and validates a table.
///
/// # Errors
/// [`RouteError`] naming the first route that is off.
pub fn parse(text: &[u8]) -> Result<RouteTable, RouteError> {
    let raw: BTreeMap<String, serde_json::Value> = serde_json::from_slice(text).map_err(RouteError::Syntax)?;
    let mut table: RouteTable = serde_json::from_slice(text).map_err(|error| name_route(&raw, error))?;
    for (provider, route) in &mut table {
        check(route).map_err(|why| RouteError::Member { provider: provider.clone(), why })?;
    }
    Ok(table)
}

fn name_route(raw: &BTreeMap<String, serde_json::Value>, error: serde_json::Error) -> RouteError {
    for (provider, value) in raw {
        if let Err(inner) = serde_json::from_value::<Route>(value.clone()) {
            return RouteError::Member { provider: provider.clone(), why: inner.to_string() };
        }
    }
    RouteError::Syntax(error)
}

fn check(route: &Route) -> Result<(), String> {
    check_url(&route.upstream)?;
    for (prefix, upstream) in &route.path_upstreams {
        if !prefix.starts_with('/') {
            return Err(format!("path prefix `{prefix}` does not begin with `/`"));
        }
        check_url(upstream)?;
    }
    if route.oauth_extra_headers.keys().any(String::is_empty) {
        return Err("an extra header has no name".into());
    }
    for text in &route.deny {
        Denial::parse(text)?;
    }
    Ok(())
}

fn check_url(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && !url.contains(char::is_whitespace) => Ok(()),
        _ => Err(format!("upstream `{url}` is not an http or https URL")),
    }
}

/// The file text: two-space indent and a final newline.
pub fn to_json(table: &RouteTable) -> String {
    serde_json::to_string_pretty(table).expect("routes serialise") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_order() {
        let table =
            parse(br#"{"b": {"upstream": "https://b"}, "a": {"upstream": "http://a/x", "auth_prefix": ""}}"#).unwrap();
        assert_eq!(table.keys().collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!((table["b"].auth_header.as_str(), table["b"].auth_prefix.as_str()), ("Authorization", "Bearer "));
        assert_eq!(parse(to_json(&table).as_bytes()).unwrap(), table);
        assert!(to_json(&table).contains("\"auth_prefix\": \"\""));
    }

    #[test]
    fn an_unusable_refresh_costs_only_itself() {
        for (refresh, usable) in [
            (r#"{"token_url": "https://t", "client_id": "c"}"#, true),
            (r#"{"token_url": "https://t", "client_id": "c", "scope": null, "more": 1}"#, true),
            (r#"{"token_url": "https://t"}"#, false),
            (r#"{"token_url": 7, "client_id": "c"}"#, false),
            ("[]", false),
            ("null", false),
        ] {
            let text = format!(r#"{{"a": {{"upstream": "https://a", "oauth_refresh": {refresh}}}}}"#);
            assert_eq!(parse(text.as_bytes()).unwrap()["a"].oauth_refresh.is_some(), usable, "{refresh}");
        }
    }

    #[test]
    fn a_bad_route_is_named() {
        for text in [
            r#"{"x": {}}"#,
            r#"{"x": {"upstream": "ftp://h"}}"#,
            r#"{"x": {"upstream": "https://"}}"#,
            r#"{"x": {"upstream": "https://h", "path_upstreams": {"v1": "https://h"}}}"#,
            r#"{"x": {"upstream": "https://h", "path_upstreams": {"/v1": ""}}}"#,
            r#"{"x": {"upstream": "https://h", "oauth_extra_headers": {"": "v"}}}"#,
            r#"{"x": {"upstream": "https://h", "auth_header": 7}}"#,
            r#"{"x": {"upstream": "https://h", "deny": ["keys"]}}"#,
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(matches!(&error, RouteError::Member { provider, .. } if provider == "x"), "{text}: {error}");
        }
        assert!(matches!(parse(b"[]"), Err(RouteError::Syntax(_))));
    }
}
