//! The answers that the gate gives itself.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, SERVER, WWW_AUTHENTICATE};
use http::{HeaderMap, Response, StatusCode};

use crate::body::Reply;

const BANNER: HeaderValue = HeaderValue::from_static("terok-gate/1.0");

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Neither GET nor POST.
    Unimplemented,
    /// No path of the gate.
    NotFound,
    /// No readable credentials.
    Unauthenticated,
    /// Not this token, or not this repository.
    Forbidden,
    /// A service we do not have.
    Service,
    /// The other method of the two; this one is right.
    Method(&'static str),
    /// The body is of another type.
    MediaType,
    /// The body is encoded in a way we do not read.
    Encoding,
    /// The repository does not exist.
    NoRepository,
    /// The body is larger than allowed.
    TooLarge,
    /// The body came to a halt.
    Stalled,
    /// The body is not what it says.
    Malformed(&'static str),
    /// As many requests as may wait do so already.
    Busy,
    /// Git is not installed.
    NoGit,
    /// Git cannot be started.
    GitUnavailable,
    /// Git failed before it answered.
    GitFailed,
}

impl Refusal {
    /// The status code.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Self::NotFound | Self::NoRepository => StatusCode::NOT_FOUND,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            // A wrong token is no 401, at which git would ask a person for another one.
            Self::Forbidden | Self::Service => StatusCode::FORBIDDEN,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::MediaType | Self::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Stalled => StatusCode::REQUEST_TIMEOUT,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoGit | Self::GitUnavailable | Self::GitFailed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the client is told; git shows it where it shows any text.
    pub fn text(self) -> &'static str {
        match self {
            Self::Unimplemented => "this method is not supported",
            Self::NotFound => "there is nothing here",
            Self::Unauthenticated => "Authentication required",
            Self::Forbidden => "this token does not open this repository",
            Self::Service => "this service is not offered",
            Self::Method(_) => "this path wants another method",
            Self::MediaType => "the body is not of the type that belongs to this path",
            Self::Encoding => "the encoding of the body is not supported here",
            Self::NoRepository => "this repository does not exist on the gate",
            Self::TooLarge => "the request is larger than the gate allows",
            Self::Stalled => "the request came to a halt",
            Self::Malformed(what) => what,
            Self::Busy => "the gate has too many requests waiting; wait for some of them to end and try again",
            Self::NoGit => "git not found",
            Self::GitUnavailable => "git unavailable",
            Self::GitFailed => "git failed; the supervisor's log says more",
        }
    }

    /// The answer.
    pub fn response(self) -> Response<Reply> {
        let mut response = Response::new(Reply::whole(format!("{}\n", self.text())));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        common(headers, "text/plain");
        match self {
            Self::Unauthenticated => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"terok gate\""));
            }
            Self::Method(right) => {
                headers.insert(ALLOW, HeaderValue::from_static(right));
            }
            _ => {}
        }
        response
    }
}

/// A successful answer, which no cache may keep.
pub fn fine(body: Reply, media_type: &'static str) -> Response<Reply> {
    let mut response = Response::new(body);
    common(response.headers_mut(), media_type);
    response
}

fn common(headers: &mut HeaderMap, media_type: &'static str) {
    headers.insert(SERVER, BANNER);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0, must-revalidate"));
}
