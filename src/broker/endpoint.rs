//! The vendor's token endpoint: one question, one answer, fifteen seconds.
//!
//! Invariants: what the endpoint says never reaches a log or an error, because it may echo the token; redirects are not
//! followed; the answer is read up to a limit.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base::secret::Secret;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use hyper::body::{Body, Incoming};
use serde_json::{Map, Value, json};
use wire::route::OauthRefresh;

use crate::forward::Forwarder;
use crate::routes::Upstream;

const TIME_LIMIT: Duration = Duration::from_secs(15);
const SIZE_LIMIT: usize = 256 * 1024;
/// Life of an access token whose answer does not say, in seconds.
const USUAL_LIFE: f64 = 28_800.0;

/// Where and how a provider's logins are refreshed.
#[derive(Debug, Clone)]
pub struct Endpoint {
    upstream: Upstream,
    target: PathAndQuery,
    client: OauthRefresh,
}

/// Why there is no new token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The endpoint does not accept the refresh token.
    #[error("the token endpoint refuses the login with status {0}")]
    Refused(u16),
    /// Another status.
    #[error("the token endpoint answers with status {0}")]
    Status(u16),
    /// The answer holds no access token.
    #[error("the token endpoint's answer holds no access token")]
    Shape,
    /// No answer.
    #[error("the token endpoint cannot be reached or does not answer")]
    Silent,
    /// Nobody was asked.
    #[error("what the vendor would give could not be kept: {0}")]
    NoRoom(std::io::ErrorKind),
    /// Nobody was asked: the end has begun.
    #[error("the broker ends")]
    Over,
}

/// What the vendor gave.
pub struct Fresh {
    /// The new access token.
    pub access_token: Secret,
    /// The new refresh token, when the vendor rotates it.
    pub refresh_token: Option<Secret>,
    /// When the access token ends, in seconds since 1970.
    pub expires_at: f64,
}

impl Endpoint {
    /// Prepares an endpoint.
    ///
    /// # Errors
    /// A text saying what is wrong with its URL.
    pub fn prepare(client: &OauthRefresh) -> Result<Self, String> {
        let mut upstream = Upstream::parse(&client.token_url)?;
        upstream.base.clear();
        let uri: http::Uri = client.token_url.parse().map_err(|_| "the token endpoint is not a URL".to_owned())?;
        let target = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { upstream, target, client: client.clone() })
    }

    /// Asks for a new access token. `enter` is called when the next step is to say the old one; what it gives is handed
    /// back with the answer, and without it nothing is said.
    ///
    /// # Errors
    /// [`EndpointError`], without a word of what the endpoint said.
    pub async fn ask<G>(
        &self,
        forwarder: &Forwarder,
        refresh_token: &str,
        enter: impl FnOnce() -> Option<G>,
    ) -> Result<(Fresh, G), EndpointError> {
        let asking = self.exchange(forwarder, refresh_token, enter);
        tokio::time::timeout(TIME_LIMIT, asking).await.unwrap_or(Err(EndpointError::Silent))
    }

    async fn exchange<G>(
        &self,
        forwarder: &Forwarder,
        refresh_token: &str,
        enter: impl FnOnce() -> Option<G>,
    ) -> Result<(Fresh, G), EndpointError> {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::HOST, self.upstream.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let body = self.question(refresh_token);
        let connection = forwarder.connect(&self.upstream).await.map_err(|_| EndpointError::Silent)?;
        let held = enter().ok_or(EndpointError::Over)?;
        let answer = forwarder.post(connection, &self.upstream, self.target.clone(), headers, body).await;
        let answer = answer.map_err(|_| EndpointError::Silent)?;
        match answer.response.status().as_u16() {
            200 => {}
            status @ (400 | 401 | 403) => return Err(EndpointError::Refused(status)),
            status => return Err(EndpointError::Status(status)),
        }
        let text = gather(answer.response.into_body()).await?;
        Fresh::read(&text).map(|fresh| (fresh, held)).ok_or(EndpointError::Shape)
    }

    fn question(&self, refresh_token: &str) -> Bytes {
        let mut body = json!({
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
            "client_id": self.client.client_id,
        });
        for (key, value) in [("scope", &self.client.scope), ("client_secret", &self.client.client_secret)] {
            if let Some(value) = value {
                body[key] = value.clone().into();
            }
        }
        Bytes::from(body.to_string())
    }
}

async fn gather(mut body: Incoming) -> Result<Vec<u8>, EndpointError> {
    let mut text = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| EndpointError::Silent)?;
        let piece = frame.data_ref().map(Bytes::as_ref).unwrap_or_default();
        if text.len() + piece.len() > SIZE_LIMIT {
            return Err(EndpointError::Shape);
        }
        text.extend_from_slice(piece);
    }
    Ok(text)
}

/// Seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

impl Fresh {
    /// Reads an endpoint's answer.
    fn read(text: &[u8]) -> Option<Self> {
        let answer: Map<String, Value> = serde_json::from_slice(text).ok()?;
        let token = |key| answer.get(key).and_then(Value::as_str).filter(|t| !t.is_empty()).map(Secret::new);
        let life = answer.get("expires_in").and_then(Value::as_f64).filter(|life| *life > 0.0);
        Some(Self {
            access_token: token("access_token")?,
            refresh_token: token("refresh_token"),
            expires_at: now() + life.unwrap_or(USUAL_LIFE),
        })
    }

    /// The record with the new tokens; its other members stay.
    pub fn apply_to(&self, record: &Map<String, Value>) -> Map<String, Value> {
        let mut new = record.clone();
        new.insert("access_token".into(), self.access_token.expose().into());
        if let Some(token) = &self.refresh_token {
            new.insert("refresh_token".into(), token.expose().into());
        }
        new.insert("expires_at".into(), self.expires_at.into());
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let read = |text: &str| Fresh::read(text.as_bytes());
        let fresh = read(r#"{"access_token": "a", "expires_in": 60, "token_type": "Bearer"}"#).unwrap();
        assert!(fresh.refresh_token.is_none() && (fresh.expires_at - now() - 60.0).abs() < 5.0);
        let usual = read(r#"{"access_token": "a", "refresh_token": "r", "expires_in": null}"#).unwrap();
        assert_eq!(usual.refresh_token.as_ref().unwrap().expose(), "r");
        assert!((usual.expires_at - now() - USUAL_LIFE).abs() < 5.0);
        for text in ["", "[]", "{}", r#"{"access_token": ""}"#, r#"{"access_token": 7}"#, r#"{"error": "x"}"#] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn other_members_survive() {
        let record: Map<String, Value> =
            serde_json::from_str(r#"{"type": "oauth", "access_token": "o", "refresh_token": "r", "extra": [1]}"#)
                .unwrap();
        let fresh = Fresh { access_token: Secret::new("n"), refresh_token: None, expires_at: 5.5 };
        let new = Value::Object(fresh.apply_to(&record));
        assert_eq!(
            new,
            json!({"type": "oauth", "access_token": "n", "refresh_token": "r", "extra": [1], "expires_at": 5.5})
        );
    }
}
