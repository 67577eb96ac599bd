//! Who gets in. Whoever does not sees the connection close without a byte.

use std::time::Duration;

use signer::{Access, LONGEST_TOKEN, READ_LIMIT};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use vault::VaultState;

use crate::stage::{Key, SCOPE, SUBJECT, Stage, owner, strings};

#[test]
fn only_a_live_ssh_token_of_this_container_gets_in() {
    let key = Key::ed25519();
    let (stage, token) = Stage::with_key(&key);
    let http = stage.store.create_token(SCOPE, SUBJECT, "default", "claude").unwrap();
    let foreign = [stage.token(SCOPE, "other-task"), stage.token("other-scope", SUBJECT)];
    stage.add("other-scope", "theirs", &Key::ed25519());
    let unknown = format!("terok-p-{}", "0".repeat(32));
    for refused in [&http, &foreign[0], &foreign[1], &unknown, &token[1..].to_owned(), &format!("{token} ")] {
        assert!(stage.admitted(refused).is_closed(), "{refused}");
    }
    assert_eq!(stage.admitted(&token).list().len(), 1);
}

#[test]
fn impossible_tokens_are_refused_at_once() {
    let (stage, token) = Stage::with_key(&Key::ed25519());
    for length in [0, LONGEST_TOKEN as u32 + 1, u32::MAX] {
        let mut client = stage.connect();
        client.send(&length.to_be_bytes());
        assert!(client.is_closed(), "{length}");
    }
    let mut longest = stage.admitted(&"x".repeat(LONGEST_TOKEN));
    assert!(longest.is_closed());
    for bytes in [&b""[..], &[0, 0], &strings(&[token.as_bytes()])[..20], &strings(&[&[0xff, 0xfe]])] {
        let mut client = stage.connect();
        client.send(bytes);
        client.finish();
        assert!(client.is_closed(), "{bytes:?}");
    }
}

#[test]
fn a_scope_without_keys_is_closed() {
    let mut stage = Stage::vault();
    let token = stage.token(SCOPE, SUBJECT);
    stage.serve(Access::Tokens(owner()));
    assert!(stage.admitted(&token).is_closed());
    stage.add(SCOPE, "late", &Key::ed25519());
    assert_eq!(stage.admitted(&token).list().len(), 1);
}

#[test]
fn a_locked_vault_closes_connections_and_heals() {
    let key = Key::ed25519();
    let (stage, token) = Stage::with_key(&key);
    let mut open = [stage.admitted(&token), stage.admitted(&token)];
    assert_eq!(open.each_mut().map(|client| client.list().len()), [1, 1]);
    // This one is in the middle of a message.
    open[1].send(&[0, 0]);
    stage.cell.set(VaultState::Locked("for the test".into()));
    assert!(stage.admitted(&token).is_closed());
    assert_eq!(open.each_mut().map(|client| client.is_closed()), [true, true], "neither has asked anything");
    stage.cell.set(VaultState::Open(stage.store.clone()));
    assert_eq!(stage.admitted(&token).list().len(), 1);
}

#[test]
fn a_connection_waits_for_the_first_unlocking() {
    let key = Key::ed25519();
    let (stage, token) = Stage::with_key(&key);
    stage.cell.set(VaultState::Unlocking);
    let mut client = stage.admitted(&token);
    client.send(&strings(&[&[11]]));
    std::thread::sleep(Duration::from_millis(300));
    stage.cell.set(VaultState::Open(stage.store.clone()));
    assert_eq!(client.answer().unwrap()[0], 12);
}

/// How long the signer, by its own clock, keeps a client that sends `bytes` and then nothing.
async fn patience_for(bytes: &[u8]) -> Duration {
    let stage = Stage::vault();
    let agent = stage.agent(Access::Tokens(owner()));
    let (mut ours, theirs) = tokio::io::duplex(64);
    let began = Instant::now();
    let serving = agent.converse(theirs, "test");
    let client = async {
        ours.write_all(bytes).await.unwrap();
        let mut said = Vec::new();
        ours.read_to_end(&mut said).await.unwrap();
        assert!(said.is_empty());
    };
    tokio::join!(serving, client);
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_closed_after_five_seconds() {
    assert_eq!(READ_LIMIT, Duration::from_secs(5));
    for bytes in [&b""[..], &[0, 0, 0], &[0, 0, 0, 40], &[0, 0, 0, 40, b't']] {
        let kept = patience_for(bytes).await;
        assert!((READ_LIMIT..READ_LIMIT * 2).contains(&kept), "{bytes:?}: {kept:?}");
    }
}

#[test]
fn a_silent_client_holds_nobody_up() {
    let key = Key::ed25519();
    let (stage, token) = Stage::with_key(&key);
    let _silent: Vec<_> = (0..8).map(|_| stage.connect()).collect();
    let began = std::time::Instant::now();
    assert_eq!(stage.admitted(&token).list().len(), 1);
    assert!(began.elapsed() < READ_LIMIT, "that is how long one silent client alone is waited for");
}
