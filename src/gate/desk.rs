//! What happens to one request: is there such a path, who asks, may they, and which git answers.
//!
//! Invariants: the checks come in that order, and no process starts before all of them; the token decides the one
//! repository; a push reaches git only when every name in it is allowed and every old tip has been kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::secret::Secret;
use base::setting::GateQuotas;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use hyper::body::{Body, Incoming};
use tokio::process::ChildStdin;

use crate::auth;
use crate::body::{RECEIVES, Reply, Stream};
use crate::keep;
use crate::path::{self, Service};
use crate::pkt;
use crate::places::{Place, Places, Work};
use crate::process::{self, Process};
use crate::pump::{BodyError, Source, pump};
use crate::push::{Head, HeadError, HeadReader};
use crate::reply::{Refusal, fine};

/// How long a refused body is read, so that the client gets to see the refusal.
const DRAIN: Duration = Duration::from_secs(1);
/// From more changed references on, they are written through to the disk together.
const MANY: usize = 100;
/// How much of a push that is too large is read on, so that the client gets to see why.
const OVERFLOW: u64 = 64 << 30;
const MIB: u64 = 1 << 20;
/// Longest value of `Git-Protocol` that is passed on.
const LONGEST_PROTOCOL: usize = 256;

/// Bounds of a gate.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest silence of a client that is expected to send or take something.
    pub idle: Duration,
    /// Requests that git works on at the same time; further ones wait.
    pub at_work: usize,
    /// Requests that wait; further ones are refused.
    pub waiting: usize,
    /// Bytes of memory for all git processes together.
    pub memory: u64,
    /// Most bytes of one push.
    pub push: u64,
    /// Most references that one push changes.
    pub references: usize,
    /// Most old tips that the repository keeps.
    pub kept: usize,
}

impl Limits {
    /// The bounds that the configuration sets.
    pub fn of(quotas: GateQuotas) -> Self {
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            memory: quotas.git_memory_mib * MIB,
            push: quotas.push_limit_mib * MIB,
            references: count(quotas.references_per_push),
            kept: count(quotas.kept_tips),
            ..Self::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            at_work: 4,
            waiting: 32,
            memory: 512 * MIB,
            push: 2048 * MIB,
            references: 10_000,
            kept: 10_000,
        }
    }
}

/// What all requests of one container share.
pub struct Desk {
    scope: String,
    token: Secret,
    repository: PathBuf,
    limits: Limits,
    places: Arc<Places>,
}

/// One request, apart from its body.
struct Errand<'a> {
    parts: &'a Parts,
    protocol: Option<String>,
    label: &'static str,
}

impl Desk {
    /// Serves `repository` to whoever presents `token`, under the name `scope`.
    pub fn new(scope: String, token: Secret, repository: PathBuf, limits: Limits) -> Self {
        let places = Arc::new(Places::new(limits.at_work, limits.waiting, limits.memory));
        Self { scope, token, repository, limits, places }
    }

    /// Longest silence of a client.
    pub fn idle(&self) -> Duration {
        self.limits.idle
    }

    /// Answers one request.
    pub async fn handle(&self, request: Request<Incoming>) -> Response<Reply> {
        let (parts, body) = request.into_parts();
        let waits = !body.is_end_stream() && !parts.headers.contains_key(EXPECT);
        let mut source = Some(Source::new(body, self.limits.idle, self.limits.push));
        let refusal = match self.answer(&parts, &mut source).await {
            Ok(response) => return response,
            Err(refusal) => refusal,
        };
        let path = base::text::sanitize_tty(&parts.uri.path().chars().take(200).collect::<String>());
        let status = refusal.status().as_u16();
        tracing::warn!(method = %parts.method, %path, status, cause = refusal.text(), "a request is refused");
        if let Some(source) = source.as_mut().filter(|_| waits) {
            let _ = tokio::time::timeout(DRAIN, source.drain()).await;
        }
        refusal.response()
    }

    async fn answer(&self, parts: &Parts, source: &mut Option<Source>) -> Result<Response<Reply>, Refusal> {
        if !matches!(parts.method, Method::GET | Method::POST) {
            return Err(Refusal::Unimplemented);
        }
        let plain = parts.uri.scheme().is_none();
        let (name, service) = path::parse(parts.uri.path()).filter(|_| plain).ok_or(Refusal::NotFound)?;
        let token = auth::token(&parts.headers).ok_or(Refusal::Unauthenticated)?;
        if !self.token.matches(token.expose()) || name != self.scope {
            return Err(Refusal::Forbidden);
        }
        let right = if matches!(service, Service::InfoRefs | Service::Head) { Method::GET } else { Method::POST };
        if parts.method != right {
            return Err(Refusal::Method(if right == Method::GET { "GET" } else { "POST" }));
        }
        let head = std::fs::read(self.repository.join("HEAD")).map_err(|_| Refusal::NoRepository)?;
        match service {
            Service::Head => Ok(fine(Reply::whole(head), "text/plain")),
            Service::InfoRefs => self.info_refs(parts).await,
            Service::UploadPack => self.fetch(parts, source).await,
            Service::ReceivePack => self.push(parts, source).await,
        }
    }

    async fn info_refs(&self, parts: &Parts) -> Result<Response<Reply>, Refusal> {
        let errand = |label| Errand { parts, protocol: protocol(&parts.headers), label };
        let (arguments, media_type, errand) = match path::wanted(parts.uri.query().unwrap_or_default()) {
            Some("upload-pack") => (
                ["upload-pack", "--http-backend-info-refs", "."].as_slice(),
                "application/x-git-upload-pack-advertisement",
                errand("upload-pack"),
            ),
            Some("receive-pack") => (
                ["receive-pack", "--http-backend-info-refs", "."].as_slice(),
                "application/x-git-receive-pack-advertisement",
                errand(RECEIVES),
            ),
            // What very old clients ask for: plain names of what they may see.
            None => (
                ["for-each-ref", "--format=%(objectname)%09%(refname)", "refs/heads", "refs/tags"].as_slice(),
                "text/plain",
                errand("for-each-ref"),
            ),
            Some(_) => return Err(Refusal::Service),
        };
        let mut before = Vec::new();
        if media_type != "text/plain" && !speaks_v2(errand.protocol.as_deref()) {
            pkt::push(&mut before, format!("# service=git-{}\n", errand.label).as_bytes());
            before.extend_from_slice(pkt::FLUSH);
        }
        let place = self.place(Work::Look).await?;
        let git = self.start(arguments, &errand, &place)?;
        let mut stream = Stream::new(git.stdout, (git.end, git.leash), place, errand.label);
        drop(git.stdin);
        let first = stream.first().await;
        begin(stream, first, &before, media_type).await
    }

    async fn fetch(&self, parts: &Parts, source: &mut Option<Source>) -> Result<Response<Reply>, Refusal> {
        let errand = Errand { parts, protocol: protocol(&parts.headers), label: "upload-pack" };
        let packed = errand.check_body("application/x-git-upload-pack-request")?;
        let place = self.place(Work::Fetch).await?;
        let git = self.start(&["upload-pack", "--stateless-rpc", "."], &errand, &place)?;
        let mut stream = Stream::new(git.stdout, (git.end, git.leash), place, errand.label);
        let first = exchange(&mut stream, git.stdin, Bytes::new(), source, packed).await?;
        begin(stream, first, &[], "application/x-git-upload-pack-result").await
    }

    async fn push(&self, parts: &Parts, source: &mut Option<Source>) -> Result<Response<Reply>, Refusal> {
        let errand = Errand { parts, protocol: protocol(&parts.headers), label: RECEIVES };
        if errand.check_body("application/x-git-receive-pack-request")? {
            return Err(Refusal::Encoding);
        }
        let reading = source.as_mut().ok_or(Refusal::GitUnavailable)?;
        let (head, bytes) = match read_head(reading, self.limits.references).await? {
            Reading::Whole(head, bytes) => (head, bytes),
            Reading::TooMany(head) => {
                let most = self.limits.references;
                let cause = format!(
                    "it changes more than {most} references; push fewer at a time, or raise `gate_server.references_per_push` in config.yml"
                );
                return refuse(&head, &cause, reading).await;
            }
        };
        if head.changes.is_empty() {
            // Git asks with an empty push whether it would be let in.
            reading.drain().await?;
            return Ok(fine(Reply::whole(Bytes::new()), RESULT));
        }
        let place = self.place(Work::Push).await?;
        if let Some(reasons) = self.objections(&head, &place).await {
            reading.drain().await?;
            log_refused(&head, &reasons);
            let answer = head.refusal(&reasons).ok_or(Refusal::Malformed("the push is refused"))?;
            return Ok(fine(Reply::whole(answer), RESULT));
        }
        keep::sweep(&self.repository);
        let many = head.changes.len() > MANY;
        let settings = if many { process::REFERENCES_LATER } else { &[] };
        let git = self.start_with(&["receive-pack", "--stateless-rpc", "."], &errand, &place, settings)?;
        let (head, memory) = (Arc::new(head), place.memory / MIB);
        let mut stream = Stream::new(git.stdout, (git.end, git.leash), place, errand.label);
        stream.sequel = self.sequel(head.clone());
        stream.seal = many.then(|| self.repository.clone());
        match exchange(&mut stream, git.stdin, bytes.freeze(), source, false).await {
            Err(Refusal::TooLarge) => {
                drop(stream);
                let most = self.limits.push / MIB;
                let cause = format!("it is larger than {most} MiB; raise `gate_server.push_limit_mib` in config.yml");
                refuse(&head, &cause, source.as_mut().ok_or(Refusal::TooLarge)?).await
            }
            Err(refusal) => Err(refusal),
            Ok(first) => {
                let remark = match &first {
                    Ok(Some(piece)) if is_out_of_memory(piece) => head.remark(&format!(
                        "git has {memory} MiB for this push on the gate; raise `gate_server.git_memory_mib` in config.yml"
                    )),
                    _ => Vec::new(),
                };
                begin(stream, first, &remark, RESULT).await
            }
        }
    }

    /// Why the push must not go on; old tips are kept when there is nothing against it.
    async fn objections(&self, head: &Head, place: &Place) -> Option<Vec<String>> {
        if let Some(reasons) = head.verdict() {
            return Some(reasons);
        }
        let cause = keep::keep(&self.repository, &head.changes, self.limits.kept, place).await.err()?;
        let reason =
            |creates| if creates { "another reference of this push is refused".to_owned() } else { cause.clone() };
        Some(head.changes.iter().map(|change| reason(change.creates())).collect())
    }

    /// What follows a push that git took: names of tips that are still reached are taken away.
    fn sequel(&self, head: Arc<Head>) -> Option<Box<dyn FnOnce() + Send>> {
        if head.changes.iter().all(|change| change.creates() || change.deletes()) {
            return None;
        }
        let (repository, places) = (self.repository.clone(), self.places.clone());
        Some(Box::new(move || {
            tokio::spawn(async move {
                // A request that waits here is not refused: it ends soon, and each push has only one.
                let place = places.wait(Work::Look, &repository).await;
                keep::tidy(&repository, &head.changes, &place).await;
            });
        }))
    }

    async fn place(&self, work: Work) -> Result<Place, Refusal> {
        self.places.take(work, &self.repository).await
    }

    fn start(&self, arguments: &[&str], errand: &Errand<'_>, place: &Place) -> Result<Process, Refusal> {
        self.start_with(arguments, errand, place, &[])
    }

    fn start_with(
        &self,
        arguments: &[&str],
        errand: &Errand<'_>,
        place: &Place,
        settings: &[(&str, &str)],
    ) -> Result<Process, Refusal> {
        let protocol = errand.protocol.as_deref();
        process::start_with(&self.repository, arguments, protocol, place, settings).map_err(|error| {
            tracing::warn!(%error, "cannot start git");
            match error.kind() {
                std::io::ErrorKind::NotFound => Refusal::NoGit,
                _ => Refusal::GitUnavailable,
            }
        })
    }
}

const RESULT: &str = "application/x-git-receive-pack-result";

impl Errand<'_> {
    /// True when the body is compressed.
    fn check_body(&self, media_type: &str) -> Result<bool, Refusal> {
        let header = |name| self.parts.headers.get(name).map(|value| value.as_bytes());
        if header(CONTENT_TYPE) != Some(media_type.as_bytes()) {
            return Err(Refusal::MediaType);
        }
        match header(CONTENT_ENCODING) {
            None | Some(b"" | b"identity") => Ok(false),
            Some(b"gzip" | b"x-gzip") => Ok(true),
            Some(_) => Err(Refusal::Encoding),
        }
    }
}

/// Result of reading the beginning of a push.
enum Reading {
    /// All of it, and the bytes that were read.
    Whole(Head, BytesMut),
    /// The part of it that says that there are too many changes.
    TooMany(Head),
}

async fn read_head(source: &mut Source, most: usize) -> Result<Reading, Refusal> {
    let mut reader = HeadReader::new(most);
    while let Some(piece) = source.piece().await? {
        match reader.feed(&piece) {
            Ok(true) => {
                let (head, bytes) = reader.finish();
                return Ok(Reading::Whole(head, bytes));
            }
            Ok(false) => {}
            Err(HeadError::TooMany | HeadError::TooLong) => return Ok(Reading::TooMany(reader.finish().0)),
            Err(HeadError::Malformed(_)) => return Err(Refusal::Malformed("the push is not made of pkt-lines")),
            Err(HeadError::Line) => return Err(Refusal::Malformed("a line of the push is not understood")),
            Err(HeadError::Signed) => return Err(Refusal::Malformed("signed pushes are not supported")),
        }
    }
    Err(Refusal::Malformed("the push ends before its list of references does"))
}

/// Refuses a push as a whole. A client looks at the answer only after it has sent everything, so that is read first.
async fn refuse(head: &Head, cause: &str, source: &mut Source) -> Result<Response<Reply>, Refusal> {
    tracing::warn!(%cause, "a push is refused");
    let answer = head.failure(cause).ok_or(Refusal::TooLarge)?;
    source.extend(OVERFLOW);
    source.drain().await?;
    Ok(fine(Reply::whole(answer), RESULT))
}

/// True for words of a git that has met its bound.
fn is_out_of_memory(piece: &[u8]) -> bool {
    String::from_utf8_lossy(&piece[..piece.len().min(4096)]).contains("ut of memory")
}

/// Feeds git and waits for its first words; what happens afterwards happens while the reply is sent. What is left of a body
/// that breaks off comes back in `source`.
async fn exchange(
    stream: &mut Stream,
    stdin: ChildStdin,
    beginning: Bytes,
    source: &mut Option<Source>,
    packed: bool,
) -> Result<std::io::Result<Option<Bytes>>, Refusal> {
    let body = source.take().ok_or(Refusal::GitUnavailable)?;
    let mut pumping = tokio::spawn(pump(beginning, body, stdin, packed));
    // A client that pushes reads nothing before it has sent everything; only then is clear what it is to be told.
    let sends_first = stream.label == RECEIVES;
    let mut first = std::pin::pin!(stream.first());
    tokio::select! {
        first = &mut first, if !sends_first => Ok(first),
        pumped = &mut pumping => match pumped {
            Ok(Err((error, left))) => {
                *source = Some(left);
                Err(error.into())
            }
            Ok(Ok(())) | Err(_) => Ok(first.await),
        },
    }
}

/// The reply, once it is clear that git has something to say.
async fn begin(
    stream: Stream,
    first: std::io::Result<Option<Bytes>>,
    before: &[u8],
    media_type: &'static str,
) -> Result<Response<Reply>, Refusal> {
    let first = first.ok().flatten();
    let Some(piece) = first else {
        stream.finish().await?;
        return Ok(fine(Reply::whole(before.to_vec()), media_type));
    };
    let piece = if before.is_empty() { piece } else { [before, &piece].concat().into() };
    Ok(fine(Reply::Stream(Some(piece), Box::new(stream)), media_type))
}

fn log_refused(head: &Head, reasons: &[String]) {
    for (change, reason) in head.changes.iter().zip(reasons).take(8) {
        let name = base::text::sanitize_tty(&String::from_utf8_lossy(&change.name));
        let name: String = name.chars().take(200).collect();
        tracing::warn!(%name, %reason, "a push is refused");
    }
}

/// The protocol that the client speaks, when it is nothing but a list of settings.
fn protocol(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("git-protocol")?.to_str().ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"=:._-".contains(&b);
    (!value.is_empty() && value.len() <= LONGEST_PROTOCOL && value.bytes().all(plain)).then(|| value.to_owned())
}

/// As git reads it: the highest version that is named.
fn speaks_v2(protocol: Option<&str>) -> bool {
    protocol.is_some_and(|settings| settings.split(':').any(|setting| setting == "version=2"))
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Gone(_) => Self::Malformed("the client broke off"),
            BodyError::Stalled => Self::Stalled,
            BodyError::TooLarge => Self::TooLarge,
            BodyError::Compressed => Self::Malformed("the compressed request cannot be unpacked"),
        }
    }
}
