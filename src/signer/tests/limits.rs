//! How many connections there are, and how long one may do nothing.

use std::time::Duration;

use server::Running;
use signer::{Access, IDLE_LIMIT, MOST_CONNECTIONS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::stage::{Key, SCOPE, Stage, sign_request, strings};

// improves: 21-6.3-connection-limits
#[test]
fn sixty_four_connections_are_served_and_no_more() {
    let key = Key::ed25519();
    let (stage, token) = Stage::with_key(&key);
    let mut open: Vec<_> = (0..MOST_CONNECTIONS).map(|_| stage.admitted(&token)).collect();
    assert_eq!(open.len(), 64);
    for client in &mut open {
        assert!(client.sign(&key.blob, b"x", 0).is_some());
    }
    assert!(stage.connect().is_closed());
    for client in &mut open {
        assert_eq!(client.list().len(), 1);
    }
    // Room comes back at once, also for a client that is quicker than the signer's notice of the end.
    for _ in 0..MOST_CONNECTIONS {
        drop(open.remove(0));
        let mut fresh = stage.admitted(&token);
        assert!(fresh.sign(&key.blob, b"x", 0).is_some());
        open.push(fresh);
    }
}

/// How long the signer, by its own clock, keeps a client that sends `bytes`, one every `pause`.
async fn kept(key: &Key, bytes: &[u8], pause: Duration) -> (Duration, usize) {
    let stage = Stage::vault();
    stage.add(SCOPE, "k", key);
    let agent = stage.agent(Access::Scope(SCOPE.into()));
    let (ours, theirs) = tokio::io::duplex(4096);
    let (mut reading, mut writing) = tokio::io::split(ours);
    let began = Instant::now();
    let serving = agent.converse(theirs, "test");
    let sending = async {
        for byte in bytes {
            if writing.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
        // Silent, not gone.
        std::future::pending::<()>().await;
    };
    let mut said = Vec::new();
    let mut end = began;
    let watching = async {
        reading.read_to_end(&mut said).await.unwrap();
        end = Instant::now();
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(serving, watching) } => {}
        () = sending => unreachable!(),
    }
    (end - began, said.len())
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_after_five_minutes() {
    let key = Key::ed25519();
    let (time, said) = kept(&key, &[], Duration::ZERO).await;
    assert!((IDLE_LIMIT..IDLE_LIMIT + Duration::from_secs(1)).contains(&time), "{time:?}");
    assert_eq!(said, 0);
    let (time, said) = kept(&key, &strings(&[&[11]]), Duration::ZERO).await;
    assert!((IDLE_LIMIT..IDLE_LIMIT + Duration::from_secs(1)).contains(&time), "{time:?}");
    assert!(said > 9);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_trickles_is_served_or_cut_off() {
    let key = Key::ed25519();
    let request = strings(&[&sign_request(&key.blob, b"x", 0)]);
    let (_, said) = kept(&key, &request, Duration::from_millis(100)).await;
    assert!(said > 64);
    let (time, said) = kept(&key, &request, Duration::from_secs(1)).await;
    assert!(time <= Duration::from_secs(31), "{time:?}");
    assert_eq!(said, 0);
}

#[test]
fn a_client_that_reads_nothing_holds_nobody_up() {
    let key = Key::ed25519();
    let (stage, token) = Stage::with_key(&key);
    let mut greedy = stage.admitted(&token);
    let _sender = std::thread::spawn(move || {
        let request = strings(&[&[11]]).repeat(1000);
        // Ends with a panic when the pipe is full for long enough; nobody looks.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..1000 {
                greedy.send(&request);
            }
        }));
    });
    std::thread::sleep(Duration::from_millis(200));
    assert!(stage.admitted(&token).sign(&key.blob, b"x", 0).is_some());
}

#[test]
fn an_end_is_orderly_and_takes_the_socket_away() {
    let key = Key::ed25519();
    let stage = Stage::vault();
    stage.add(SCOPE, "k", &key);
    let socket = stage.socket();
    use std::os::unix::fs::PermissionsExt;
    let stopped = || {
        let mut running = Running::unix(stage.agent(Access::Scope(SCOPE.into())), &socket).unwrap();
        assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
        let mut client = stage.connect();
        assert_eq!(client.list().len(), 1);
        let began = std::time::Instant::now();
        running.stop();
        running.stop();
        let took = began.elapsed();
        assert!(client.is_closed() && !socket.exists());
        took
    };
    // A busy machine may make any single one late; waiting would make all of them so.
    assert!((0..3).any(|_| stopped() < Duration::from_millis(900)), "an idle connection is not waited for");
}

#[test]
fn a_loopback_port_serves_our_own_processes() {
    use std::io::{Read, Write};
    let stage = Stage::vault();
    stage.add(SCOPE, "k", &Key::ed25519());
    let token = stage.token(SCOPE, "t");
    let running = Running::tcp(stage.agent(Access::Tokens(vault::Owner::Everyone)), 0).unwrap();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", running.port().unwrap())).unwrap();
    stream.write_all(&[strings(&[token.as_bytes()]), strings(&[&[11]])].concat()).unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[4..], [12, 0, 0, 0, 1]);
}
