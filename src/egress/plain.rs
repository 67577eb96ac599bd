//! Clear HTTP: every request of a connection is checked by itself, and refused in words.
//!
//! Both sides are hyper's, so that what is checked is what is sent on. A request counts to the one host that its `Host`
//! and its target name.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Parts, SendRequest};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use terok_shield_policy::Name;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::connect::connect;
use crate::engine::{Engine, Standing};
use crate::traffic::Grant;

/// The largest head of a request.
const MAX_HEAD: usize = 64 * 1024;
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Headers that are about one connection.
const HOP: [&str; 6] = ["connection", "proxy-connection", "keep-alive", "te", "trailer", "upgrade"];

/// Serves one connection to its end.
pub async fn serve(engine: Rc<Engine>, stream: TcpStream, to: SocketAddr, candidates: Vec<Name>) {
    let exchange = Rc::new(Exchange { engine: Rc::clone(&engine), to, candidates, last: RefCell::new(None) });
    let service = service_fn(move |request| {
        let exchange = Rc::clone(&exchange);
        async move { Ok::<_, Infallible>(exchange.answer(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let _ = connection.await;
}

struct Exchange {
    engine: Rc<Engine>,
    to: SocketAddr,
    candidates: Vec<Name>,
    /// The upstream connection of the last request.
    last: RefCell<Option<Upstream>>,
}

/// A connection to a name.
struct Upstream {
    name: Name,
    sender: SendRequest<Incoming>,
    /// Its socket, once HTTP has ended on it.
    rest: oneshot::Receiver<Parts<TokioIo<Metered>>>,
}

type Reply = Response<ReplyBody>;

impl Exchange {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        match self.forward(request).await {
            Ok(reply) => reply,
            Err((status, text)) => explain(status, &text),
        }
    }

    async fn forward(&self, mut request: Request<Incoming>) -> Result<Reply, (StatusCode, String)> {
        let name = host_of(&request).map_err(|why| (StatusCode::BAD_REQUEST, why.to_owned()))?;
        self.may_go_to(&name)?;
        let wants_upgrade = request.headers().contains_key(UPGRADE);
        let client = wants_upgrade.then(|| hyper::upgrade::on(&mut request));
        let upstream = prepare(request, wants_upgrade).map_err(|why| (StatusCode::BAD_REQUEST, why.to_owned()))?;
        let unreachable = |error: &dyn std::fmt::Display| (StatusCode::BAD_GATEWAY, format!("{name}: {error}"));
        let mut connection = self.upstream(&name).await.map_err(|error| unreachable(&error))?;
        let sent = connection.sender.send_request(upstream).await;
        let mut reply = sent.map_err(|error| unreachable(&error))?;
        if reply.status() == StatusCode::SWITCHING_PROTOCOLS {
            if let Some(client) = client {
                tokio::task::spawn_local(join(Rc::clone(&self.engine), name, client, connection.rest));
            }
        } else {
            strip(reply.headers_mut());
            *self.last.borrow_mut() = Some(connection);
        }
        Ok(reply.map(ReplyBody::Upstream))
    }

    fn may_go_to(&self, name: &Name) -> Result<(), (StatusCode, String)> {
        let why = match self.engine.standing(name) {
            Standing::Open => return Ok(()),
            Standing::Denied(by) => format!("the entry `{by}` denies the host"),
            Standing::Undecided => "no entry allows the host".to_owned(),
            Standing::Shut => "the container is in quarantine".to_owned(),
        };
        let allow = base::text::command_line(["terok-shield", "allow", "CONTAINER", &name.to_string()]);
        let next = format!("the operator can run `{allow}`");
        Err((StatusCode::FORBIDDEN, format!("the firewall refuses `{name}`: {why}\n{next}\n")))
    }

    /// A connection to the name: the last one, or a new one.
    async fn upstream(&self, name: &Name) -> io::Result<Upstream> {
        let last = self.last.borrow_mut().take().filter(|last| last.name == *name);
        if let Some(mut last) = last
            && !last.sender.is_closed()
            && last.sender.ready().await.is_ok()
        {
            return Ok(last);
        }
        let hint = self.candidates.contains(name).then_some(self.to.ip());
        let stream = connect(&self.engine, name, hint, self.to.port()).await?;
        self.engine.inner.borrow_mut().traffic.connected(name.as_str());
        let metered = Metered { engine: Rc::clone(&self.engine), name: name.clone(), stream };
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(metered)).await.map_err(io::Error::other)?;
        let (engine, flow) = (Rc::clone(&self.engine), name.clone());
        let (tell, rest) = oneshot::channel();
        tokio::task::spawn_local(async move {
            tokio::select! {
                ended = connection.without_shutdown() => {
                    let _ = ended.map(|parts| tell.send(parts));
                }
                () = engine.cut_off(Some(&flow)) => {}
            }
        });
        Ok(Upstream { name: name.clone(), sender, rest })
    }
}

/// The one host that a request names.
fn host_of(request: &Request<Incoming>) -> Result<Name, &'static str> {
    if request.method() == Method::CONNECT {
        return Err("this is no proxy");
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next().ok_or("the request has no `Host`")?;
    if hosts.next().is_some() {
        return Err("the request has more than one `Host`");
    }
    let host = host.to_str().ok().and_then(name_in).ok_or("the request's `Host` is no host name")?;
    match request.uri().authority() {
        Some(authority) if name_in(authority.as_str()).as_ref() != Some(&host) => {
            Err("the request's target is not its `Host`")
        }
        _ => Ok(host),
    }
}

/// The name of `name` or `name:port`.
fn name_in(text: &str) -> Option<Name> {
    let host = match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => text,
    };
    Name::parse(host).ok()
}

/// The request as it goes upstream: its target without a host, and no headers about this connection.
fn prepare(request: Request<Incoming>, upgrade: bool) -> Result<Request<Incoming>, &'static str> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path.parse::<Uri>().map_err(|_| "the request's target is malformed")?;
    let wanted = parts.headers.get(UPGRADE).cloned();
    strip(&mut parts.headers);
    if let Some(protocol) = wanted.filter(|_| upgrade) {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, protocol);
    }
    parts.version = Version::HTTP_11;
    Ok(Request::from_parts(parts, body))
}

fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| name != HOST)
        .collect();
    HOP.iter().for_each(|name| drop(headers.remove(*name)));
    named.iter().for_each(|name| drop(headers.remove(name)));
}

/// Moves the bytes of a connection that speaks another protocol now.
async fn join(
    engine: Rc<Engine>,
    name: Name,
    client: hyper::upgrade::OnUpgrade,
    server: oneshot::Receiver<Parts<TokioIo<Metered>>>,
) {
    let (Ok(client), Ok(server)) = tokio::join!(client, server) else { return };
    let (mut client, mut upstream) = (TokioIo::new(client), server.io.into_inner());
    if client.write_all(&server.read_buf).await.is_err() {
        return;
    }
    tokio::select! {
        _ = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, 8192, 8192) => {}
        () = engine.cut_off(Some(&name)) => {}
    }
}

fn explain(status: StatusCode, text: &str) -> Reply {
    let mut reply = Response::new(ReplyBody::Text(Some(Bytes::from(text.to_owned()))));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    reply
}

/// The body of a reply: the upstream's, or our own words.
enum ReplyBody {
    Upstream(Incoming),
    Text(Option<Bytes>),
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Upstream(body) => Pin::new(body).poll_frame(cx),
            Self::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Upstream(body) => body.is_end_stream(),
            Self::Text(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Upstream(body) => body.size_hint(),
            Self::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}

/// A connection to a name that counts its bytes and keeps to the budget.
struct Metered {
    engine: Rc<Engine>,
    name: Name,
    stream: TcpStream,
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = buffer.filled().len() - before;
        self.engine.inner.borrow_mut().traffic.received(self.name.as_str(), read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let granted = loop {
            let budget = self.engine.settings.budget();
            let grant = self.engine.inner.borrow_mut().traffic.grant(self.name.as_str(), bytes.len(), budget);
            match grant {
                Grant::Bytes(granted) => break granted,
                Grant::Spent(first) => {
                    if first {
                        self.engine.budget_is_spent(self.name.as_str());
                    }
                    ready!(self.engine.inner.borrow_mut().traffic.wait(self.name.as_str(), cx.waker()));
                }
            }
        };
        let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[..granted]))?;
        self.engine.inner.borrow_mut().traffic.sent(self.name.as_str(), sent);
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
