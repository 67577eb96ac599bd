//! One connection: who it is, then question and answer until one side has had enough.
//!
//! The connection ends when its token no longer counts or the vault is locked, when it is idle for [`IDLE_LIMIT`], when
//! a message takes longer than a slow line needs, or at a frame that is no frame. Everything else that goes wrong is
//! answered with a failure.

use std::time::Duration;

use server::Budget;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use vault::{Store, VaultCell, VaultError, VaultState};

use crate::Access;
use crate::access::Pass;
use crate::frame::{self, Arrival, KEEP, Request};
use crate::handshake;
use crate::keyring::{Chosen, Keyring};

/// How long a connection may say nothing between two messages.
pub const IDLE_LIMIT: Duration = Duration::from_secs(300);
/// How long one message, or one answer, may take to pass.
const FRAME_LIMIT: Duration = Duration::from_secs(30);
/// Slow signatures made at the same time; further ones wait.
const SLOW_AT_ONCE: usize = 2;
const LOCKED: &str = "the vault is locked";

/// What the connections of one signer share.
pub struct Desk {
    access: Access,
    vault: VaultCell,
    keys: Keyring,
    slow: Semaphore,
    budget: Budget,
}

impl Desk {
    pub fn new(access: Access, vault: VaultCell, budget: Budget) -> Self {
        Self { access, vault, keys: Keyring::default(), slow: Semaphore::new(SLOW_AT_ONCE), budget }
    }

    /// Waits until the vault is locked, which it may be already.
    async fn until_locked(&self) {
        let mut watcher = self.vault.watch();
        let locked = watcher.wait_for(|state| matches!(state, VaultState::Locked(_)));
        // The cell lives as long as this desk, so that the wait cannot end for another reason.
        let _ = locked.await;
    }
}

/// What to do after a request.
enum Step {
    Answer(Vec<u8>),
    /// The last words of a connection whose token does not count any more.
    Last(Vec<u8>),
    /// The vault was locked.
    Close,
}

/// Serves one connection until it ends, or until `ending` resolves between two messages.
pub async fn converse<S>(desk: &Desk, stream: S, who: &str, ending: impl Future<Output = ()>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    let pass = match admit(desk, &mut stream).await {
        Ok(pass) => pass,
        Err(why) => return tracing::warn!("a connection ({who}) is closed: {why}"),
    };
    let talking = async {
        tokio::select! {
            said = talk(desk, &mut stream, who, &pass, ending) => said,
            () = desk.until_locked() => Err(LOCKED),
        }
    };
    if let Err(why) = talking.await {
        tracing::info!("a connection ({who}) is closed: {why}");
    }
}

async fn admit<S: AsyncRead + Unpin>(desk: &Desk, stream: &mut S) -> Result<Pass, &'static str> {
    if matches!(desk.access, Access::Scope(_)) {
        return Ok(Pass::Fixed);
    }
    let pass = Pass::Token(handshake::read(stream).await?);
    let store = desk.vault.wait().await.ok_or(LOCKED)?;
    let unreadable = |error: VaultError| {
        tracing::warn!(%error, "the vault cannot be read");
        "the vault cannot be read"
    };
    let scope = desk.access.scope(&store, &pass).map_err(unreadable)?.ok_or("its token does not count here")?;
    if desk.keys.has_any(&store, &scope).map_err(unreadable)? { Ok(pass) } else { Err("its scope has no usable key") }
}

async fn talk<S>(
    desk: &Desk,
    stream: &mut BufReader<S>,
    who: &str,
    pass: &Pass,
    ending: impl Future<Output = ()>,
) -> Result<(), &'static str>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    const GONE: &str = "it ended in the middle of a message";
    let mut ending = std::pin::pin!(ending);
    let mut body = Vec::new();
    loop {
        let waiting = tokio::select! {
            biased;
            () = &mut ending => return Ok(()),
            waiting = timeout(IDLE_LIMIT, stream.fill_buf()) => waiting,
        };
        if waiting.map_err(|_| "it was idle for too long")?.map_or(true, <[u8]>::is_empty) {
            return Ok(());
        }
        let arrival = timeout(FRAME_LIMIT, frame::read(stream, &mut body, &desk.budget)).await;
        let _charge = match arrival.map_err(|_| "a message took too long")?.map_err(|_| GONE)? {
            Arrival::Whole(charge) => charge,
            Arrival::Impossible => return Err("a message has an impossible length"),
            Arrival::TooMuch => return Err("the container's services hold too much already"),
        };
        let (answer, last) = match answer(desk, who, pass, &body).await {
            Step::Answer(answer) => (answer, false),
            Step::Last(answer) => (answer, true),
            Step::Close => return Err(LOCKED),
        };
        let sending = timeout(FRAME_LIMIT, stream.get_mut().write_all(&answer)).await;
        sending.map_err(|_| "it does not take its answer")?.map_err(|_| "it did not wait for its answer")?;
        if last {
            return Err("its token was revoked");
        }
        if body.capacity() > KEEP {
            body = Vec::new();
        }
        // A client that asks without end waits for its turn like everybody else.
        tokio::task::yield_now().await;
    }
}

async fn answer(desk: &Desk, who: &str, pass: &Pass, body: &[u8]) -> Step {
    let request = Request::parse(body);
    match request {
        Request::Other(kind) => {
            tracing::debug!("message type {kind} of {who} is refused");
            return Step::Answer(frame::failure());
        }
        Request::Torn => return Step::Answer(frame::failure()),
        Request::List | Request::Sign { .. } => {}
    }
    let Some(store) = desk.vault.wait().await else {
        return Step::Close;
    };
    let found = match desk.access.scope(&store, pass) {
        Ok(Some(scope)) => match request {
            Request::Sign { blob, data, flags } => sign(desk, &store, &scope, who, (blob, data, flags)).await,
            _ => list(desk, &store, &scope),
        },
        Ok(None) => return Step::Last(frame::failure()),
        Err(error) => Err(error),
    };
    Step::Answer(found.unwrap_or_else(|error| {
        tracing::warn!(%error, "a request of {who} fails");
        frame::failure()
    }))
}

fn list(desk: &Desk, store: &Store, scope: &str) -> Result<Vec<u8>, VaultError> {
    let offers = desk.keys.offers(store, scope)?;
    Ok(frame::identities(offers.iter().map(|offer| (offer.blob.as_slice(), offer.comment.as_str()))))
}

async fn sign(
    desk: &Desk,
    store: &Store,
    scope: &str,
    who: &str,
    (blob, data, flags): (&[u8], &[u8], u32),
) -> Result<Vec<u8>, VaultError> {
    let Some(chosen) = desk.keys.choose(store, scope, blob)? else {
        tracing::info!(scope, "{who} asked for a key that is not in its scope");
        return Ok(frame::failure());
    };
    let label = chosen.label.clone();
    let signature =
        if chosen.slow { sign_aside(desk, chosen, data, flags).await? } else { chosen.sign(data, flags)? };
    tracing::info!(scope, "signed with {label} for {who}");
    Ok(frame::signature(&signature))
}

/// Signs on a thread of its own, so that the container's other services are not held up.
async fn sign_aside(desk: &Desk, chosen: Chosen, data: &[u8], flags: u32) -> Result<Vec<u8>, VaultError> {
    let data = data.to_vec();
    let _turn = desk.slow.acquire().await;
    let signing = tokio::task::spawn_blocking(move || chosen.sign(&data, flags));
    signing.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
