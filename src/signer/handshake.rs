//! What a container sends before the agent protocol: four bytes with the token's length, then the token.
//!
//! Nothing is sent back, whatever happens: a client that is refused sees its connection close, and learns no reason.

use std::time::Duration;

use base::secret::Secret;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// Most bytes of a token.
pub const LONGEST_TOKEN: usize = 1024;
/// How long each of the two reads may take.
pub const READ_LIMIT: Duration = Duration::from_secs(5);

/// Reads the token, or says why there is none.
///
/// # Errors
/// The reason, for the log.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Secret, &'static str> {
    const LATE: &str = "no token came in time";
    const GONE: &str = "the connection ended before the token";
    let length = timeout(READ_LIMIT, stream.read_u32()).await.map_err(|_| LATE)?.map_err(|_| GONE)?;
    let length = usize::try_from(length).ok().filter(|length| (1..=LONGEST_TOKEN).contains(length));
    let mut token = vec![0; length.ok_or("the token's length is out of range")?];
    timeout(READ_LIMIT, stream.read_exact(&mut token)).await.map_err(|_| LATE)?.map_err(|_| GONE)?;
    String::from_utf8(token).map(Secret::new).map_err(|_| "the token is not text")
}
