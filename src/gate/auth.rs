//! Who asks: the user name of HTTP Basic authentication is the container's token; the password is ignored.

use base::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Longest header value that is decoded; tokens have 40 characters.
const LONGEST: usize = 1024;

/// The token of a request. `None` when there is none, when it is not readable, or when there are several.
pub fn token(headers: &HeaderMap) -> Option<Secret> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().filter(|value| value.len() <= LONGEST)?;
    if values.next().is_some() {
        return None;
    }
    let decoded = STANDARD.decode(value.as_bytes().strip_prefix(b"Basic ")?).ok()?;
    let pair = Secret::new(String::from_utf8(decoded).ok()?);
    let (user, _) = pair.expose().split_once(':')?;
    (!user.is_empty()).then(|| Secret::new(user))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn of(value: &[u8]) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        token(&headers).map(|token| token.expose().to_owned())
    }

    #[test]
    fn the_user_is_the_token_and_everything_else_is_nobody() {
        // "terok-g-1:anything"
        assert_eq!(of(b"Basic dGVyb2stZy0xOmFueXRoaW5n").as_deref(), Some("terok-g-1"));
        // "t:" and "t:a:b"
        assert_eq!(of(b"Basic dDo=").as_deref(), Some("t"));
        assert_eq!(of(b"Basic dDphOmI=").as_deref(), Some("t"));
        for value in [
            &b"Bearer dDo="[..],
            b"basic dDo=",
            b"Basic",
            b"Basic ",
            b"Basic !!!!",
            b"Basic dA==",     // no colon
            b"Basic OnBhc3M=", // empty user
            b"Basic /zo=",     // not UTF-8
        ] {
            assert_eq!(of(value), None, "{value:?}");
        }
        assert_eq!(of(format!("Basic {}", "dDo6".repeat(400)).as_bytes()), None);
        assert!(token(&HeaderMap::new()).is_none());
    }

    #[test]
    fn two_headers_are_none() {
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            headers.append(AUTHORIZATION, HeaderValue::from_static("Basic dDo="));
        }
        assert!(token(&headers).is_none());
    }
}
