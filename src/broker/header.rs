//! Which headers pass, in both directions, and how the real credential gets in.
//!
//! Invariants: all three headers that can carry a phantom token are dropped, always; the credential goes in after the
//! dropping, so that nothing the client lists in `Connection` can keep it out; repeated headers stay, in order.

use base::secret::Secret;
use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::reply::Refusal;
use crate::routes::{AuthStyle, LiveRoute};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const PRIVATE_TOKEN: HeaderName = HeaderName::from_static("private-token");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// What holds for one connection only.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION
            | header::PROXY_AUTHENTICATE
            | header::PROXY_AUTHORIZATION
            | header::TE
            | header::TRAILER
            | header::TRANSFER_ENCODING
            | header::UPGRADE
    ) || *name == KEEP_ALIVE
}

fn is_phantom_carrier(name: &HeaderName) -> bool {
    *name == header::AUTHORIZATION || *name == X_API_KEY || *name == PRIVATE_TOKEN
}

/// The phantom token a request presents: the first carrier that is not empty decides, the others are not looked at.
pub fn phantom_token(headers: &HeaderMap) -> Result<&str, Refusal> {
    let value = [header::AUTHORIZATION, X_API_KEY, PRIVATE_TOKEN]
        .iter()
        .flat_map(|name| headers.get_all(name))
        .find(|value| !value.is_empty())
        .ok_or(Refusal::MissingToken)?;
    let text = value.to_str().map_err(|_| Refusal::InvalidToken)?;
    Ok(match text.split_once(' ') {
        Some((_, rest)) => rest.trim_start(),
        None => text,
    })
}

/// True when the client asks for a WebSocket.
pub fn wants_websocket(headers: &HeaderMap) -> bool {
    listed(headers, &header::UPGRADE).any(|name| name.eq_ignore_ascii_case("websocket"))
}

/// The members of a comma-separated header, over all its lines.
pub fn listed<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

/// The headers that go to the upstream, without any credential yet.
pub fn for_upstream(client: &HeaderMap, host: &HeaderValue) -> HeaderMap {
    let named = connection_names(client);
    let mut out = HeaderMap::with_capacity(client.len() + 4);
    out.insert(header::HOST, host.clone());
    for (name, value) in client {
        // The body is framed anew; only that there is none must be said again, since some servers insist on it.
        let empty = *name == header::CONTENT_LENGTH && value == "0";
        // An expectation is met by our own side of the client's connection.
        let ours = matches!(*name, header::HOST | header::CONTENT_LENGTH | header::EXPECT);
        let passes = !is_hop_by_hop(name) && !is_phantom_carrier(name) && !named.contains(name);
        if empty || (!ours && passes) {
            out.append(name.clone(), value.clone());
        }
    }
    out
}

/// Asks for an answer that can be looked through as it is, where anything is said about its coding at all.
pub fn ask_plain(headers: &mut HeaderMap) {
    if headers.contains_key(header::ACCEPT_ENCODING) {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
}

/// The only headers that follow a redirect to wherever it leads.
pub fn for_redirect(client: &HeaderMap, host: &HeaderValue) -> HeaderMap {
    let mut out = HeaderMap::with_capacity(4);
    out.insert(header::HOST, host.clone());
    for name in [header::ACCEPT, header::ACCEPT_ENCODING, header::USER_AGENT] {
        for value in client.get_all(&name) {
            out.append(name.clone(), value.clone());
        }
    }
    out
}

/// Takes out of an upstream's answer what must not reach the client.
pub fn for_client(headers: &mut HeaderMap) {
    for name in connection_names(headers) {
        headers.remove(name);
    }
    for name in [
        header::CONNECTION,
        KEEP_ALIVE,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::LOCATION,
    ] {
        headers.remove(name);
    }
}

fn connection_names(headers: &HeaderMap) -> Vec<HeaderName> {
    listed(headers, &header::CONNECTION).filter_map(|name| name.parse().ok()).collect()
}

/// True for a record of an OAuth login; legacy records do not say their type.
pub fn is_oauth(record: &Map<String, Value>) -> bool {
    match record.get("type").and_then(Value::as_str) {
        Some(kind) => kind == "oauth",
        None => record.contains_key("access_token"),
    }
}

/// Puts the real credential into `headers`.
///
/// # Errors
/// [`Refusal::CredentialMisconfigured`] when the record has no usable secret.
pub fn inject(headers: &mut HeaderMap, route: &LiveRoute, record: &Map<String, Value>) -> Result<(), Refusal> {
    let token = secret(record).ok_or(Refusal::CredentialMisconfigured)?;
    if is_oauth(record) {
        headers.insert(header::AUTHORIZATION, sensitive("Bearer ", token)?);
        for (name, value) in &route.oauth_extra {
            merge(headers, name, value);
        }
        return Ok(());
    }
    match &route.auth {
        AuthStyle::Dynamic => headers.insert(X_API_KEY, sensitive("", token)?),
        AuthStyle::Fixed(name, prefix) => headers.insert(name.clone(), sensitive(prefix, token)?),
    };
    Ok(())
}

/// The part of a record that the upstream gets to see.
pub fn secret(record: &Map<String, Value>) -> Option<&str> {
    if is_oauth(record) {
        return member(record, "access_token");
    }
    member(record, "token").or_else(|| member(record, "key"))
}

fn member<'a>(record: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    record.get(key).and_then(Value::as_str).filter(|s| !s.is_empty())
}

fn sensitive(prefix: &str, token: &str) -> Result<HeaderValue, Refusal> {
    let text = Secret::new([prefix, token].concat());
    let mut value = HeaderValue::from_str(text.expose()).map_err(|_| Refusal::CredentialMisconfigured)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Adds `value` to a list header unless it is a member already; the result is one line without spaces.
fn merge(headers: &mut HeaderMap, name: &HeaderName, value: &HeaderValue) {
    let Ok(wanted) = value.to_str() else { return };
    let mut parts: Vec<&str> = listed(headers, name).collect();
    if !parts.contains(&wanted) {
        parts.push(wanted);
    }
    if let Ok(joined) = HeaderValue::from_str(&parts.join(",")) {
        headers.insert(name.clone(), joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut out = HeaderMap::new();
        for (name, value) in pairs {
            out.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        out
    }

    #[test]
    fn the_first_filled_carrier_decides() {
        let token = |pairs: &[(&str, &str)]| phantom_token(&map(pairs)).map(str::to_owned);
        assert_eq!(token(&[("authorization", "Bearer  T")]).unwrap(), "T");
        assert_eq!(token(&[("authorization", "token T")]).unwrap(), "T");
        assert_eq!(token(&[("authorization", "T")]).unwrap(), "T");
        assert_eq!(token(&[("authorization", ""), ("x-api-key", "K")]).unwrap(), "K");
        assert_eq!(token(&[("private-token", "P")]).unwrap(), "P");
        assert_eq!(token(&[("x-api-key", "good"), ("authorization", "Bearer bad")]).unwrap(), "bad");
        assert_eq!(token(&[("cookie", "T")]), Err(Refusal::MissingToken));
        assert_eq!(token(&[("authorization", "Bearer \u{e9}")]), Err(Refusal::InvalidToken));
    }

    #[test]
    fn what_goes_up() {
        let client = map(&[
            ("Host", "client"),
            ("Connection", "X-Secret, authorization, content-length"),
            ("X-Secret", "1"),
            ("Authorization", "Bearer T"),
            ("X-Api-Key", "T"),
            ("Private-Token", "T"),
            ("Proxy-Authorization", "x"),
            ("TE", "trailers"),
            ("Keep-Alive", "5"),
            ("Upgrade", "h2c"),
            ("Expect", "100-continue"),
            ("Cookie", "a=b"),
            ("X-Multi", "1"),
            ("X-Multi", "2"),
        ]);
        let up = for_upstream(&client, &HeaderValue::from_static("up:1"));
        assert_eq!(up, map(&[("host", "up:1"), ("cookie", "a=b"), ("x-multi", "1"), ("x-multi", "2")]));
    }

    // improves: 21-5.5-header-merge-case
    #[test]
    fn list_headers_are_merged_once() {
        let cases = [
            (&[][..], "o"),
            (&["a,b"][..], "a,b,o"),
            (&["a, b", "c"][..], "a,b,c,o"),
            (&["o"][..], "o"),
            (&["o,a"][..], "o,a"),
            (&["oo"][..], "oo,o"),
        ];
        for (lines, expected) in cases {
            let pairs: Vec<_> = lines.iter().map(|v| ("Beta", *v)).collect();
            let mut headers = map(&pairs);
            merge(&mut headers, &HeaderName::from_static("beta"), &HeaderValue::from_static("o"));
            assert_eq!(headers, map(&[("beta", expected)]), "{lines:?}");
        }
    }

    #[test]
    fn what_comes_down() {
        let mut headers = map(&[
            ("connection", "x-hop, close"),
            ("x-hop", "1"),
            ("location", "https://elsewhere"),
            ("transfer-encoding", "chunked"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
            ("retry-after", "3"),
            ("www-authenticate", "Bearer"),
        ]);
        for_client(&mut headers);
        assert_eq!(
            headers,
            map(&[("set-cookie", "a"), ("set-cookie", "b"), ("retry-after", "3"), ("www-authenticate", "Bearer")])
        );
    }
}
