//! The broker's own answers: a status, a fixed text, and the label under which the outcome is audited.
//!
//! Refuses to say anything about the upstream, the token or an error's text: the reader may be hostile.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

use crate::inspect::Stopped;
use crate::relay::ReplyBody;

/// Why a request was not answered by its upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No header carries a token.
    MissingToken,
    /// The token is unknown, revoked, or another container's.
    InvalidToken,
    /// The provider has no route.
    NoRoute(String),
    /// The path climbs (`.` or `..`), or is no path at all.
    BadPath,
    /// No credential is stored.
    CredentialMissing,
    /// The stored credential lacks its secret part.
    CredentialMisconfigured,
    /// The upstream closed the connection before it answered.
    UpstreamDisconnected,
    /// The upstream could not be reached, or broke in another way.
    UpstreamError,
    /// The upstream's side of a WebSocket could not be opened.
    Websocket,
    /// The container keeps too much open already.
    Busy,
    /// What the client sent is no WebSocket handshake.
    Handshake,
    /// The vault is locked.
    VaultLocked,
    /// The vault is open but cannot be read.
    VaultUnreadable,
    /// `CONNECT` makes no sense here, and `TRACE` would say the credential back.
    NotFound,
    /// The route denies this endpoint.
    EndpointDenied,
    /// The answer holds the real credential.
    CredentialEchoed,
    /// Whether the answer holds the real credential cannot be told.
    Unsearchable,
}

impl Refusal {
    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::MissingToken | Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::NoRoute(_) | Self::NotFound => StatusCode::NOT_FOUND,
            Self::BadPath | Self::Handshake => StatusCode::BAD_REQUEST,
            Self::EndpointDenied => StatusCode::FORBIDDEN,
            Self::VaultLocked | Self::VaultUnreadable | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    /// The label in the audit file; `None` for what is not audited.
    pub fn label(&self) -> Option<&'static str> {
        match self {
            Self::MissingToken => Some("missing_token"),
            Self::InvalidToken => Some("invalid_token"),
            Self::NoRoute(_) | Self::BadPath => Some("no_route"),
            Self::CredentialMissing => Some("credential_missing"),
            Self::CredentialMisconfigured => Some("credential_misconfigured"),
            Self::UpstreamDisconnected => Some("upstream_disconnected"),
            Self::UpstreamError => Some("upstream_error"),
            Self::EndpointDenied => Some("endpoint_denied"),
            Self::CredentialEchoed => Some("credential_echoed"),
            Self::Unsearchable => Some("answer_unsearchable"),
            Self::Websocket
            | Self::Busy
            | Self::Handshake
            | Self::VaultLocked
            | Self::VaultUnreadable
            | Self::NotFound => None,
        }
    }

    /// The label in the audit file of an exchange that ends like this.
    pub fn outcome(&self) -> &'static str {
        self.label().unwrap_or("upstream_error")
    }

    /// What the client is told.
    pub fn text(&self) -> String {
        match self {
            Self::MissingToken => "Missing authentication",
            Self::InvalidToken => "Invalid token",
            Self::NoRoute(name) => return format!("No route for provider: {name}"),
            Self::BadPath => "Invalid request path",
            Self::CredentialMissing => "Credential not configured for this provider",
            Self::CredentialMisconfigured => "Credential misconfigured",
            Self::UpstreamDisconnected => "Upstream disconnected",
            Self::UpstreamError => "Upstream request failed",
            Self::Websocket => "Upstream websocket failed",
            Self::Busy => "Too much is open already",
            Self::Handshake => "Invalid websocket request",
            Self::VaultLocked => "Vault locked",
            Self::VaultUnreadable => "Vault unavailable",
            Self::NotFound => "Not Found",
            Self::EndpointDenied => "Endpoint denied: it hands out credentials",
            Self::CredentialEchoed => "Answer withheld: it holds the real credential",
            Self::Unsearchable => "Answer withheld: its coding cannot be searched for the real credential",
        }
        .to_owned()
    }

    /// The reply for the client.
    pub(crate) fn response(&self) -> Response<ReplyBody> {
        plain(self.status(), "text/plain; charset=utf-8", self.text())
    }
}

impl From<Stopped> for Refusal {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Credential => Self::CredentialEchoed,
            Stopped::Unsearchable(_) => Self::Unsearchable,
        }
    }
}

/// The answer of the health path.
pub(crate) fn healthy() -> Response<ReplyBody> {
    plain(StatusCode::OK, "application/json; charset=utf-8", r#"{"status": "ok"}"#.to_owned())
}

fn plain(status: StatusCode, kind: &'static str, text: String) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
