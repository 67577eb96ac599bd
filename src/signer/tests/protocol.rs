//! Messages and their answers.

use signer::{Access, LONGEST_FRAME};

use crate::stage::{FAILURE, Key, SCOPE, SUBJECT, Stage, owner, sign_request, strings};

#[test]
fn main_keys_come_first_and_every_kind_signs() {
    let (side, main, rsa) = (Key::ed25519(), Key::ed25519(), Key::rsa());
    let mut stage = Stage::vault();
    for (comment, key) in [("tk-side:proj:1", &side), ("", &rsa), ("tk-main:proj", &main)] {
        stage.add(SCOPE, comment, key);
    }
    let token = stage.token(SCOPE, SUBJECT);
    stage.serve(Access::Tokens(owner()));
    let mut client = stage.admitted(&token);
    let offered = client.list();
    let comments: Vec<_> = offered.iter().map(|(_, comment)| comment.as_str()).collect();
    assert_eq!(comments, ["tk-main:proj", "tk-side:proj:1", ""]);
    assert_eq!([&offered[0].0, &offered[1].0, &offered[2].0], [&main.blob, &side.blob, &rsa.blob]);
    for data in [&b"t"[..], b"text", &[0xff; 10_000]] {
        for key in [&side, &main, &rsa] {
            let signature = client.sign(&key.blob, data, 0).unwrap();
            key.verified(data, &signature);
        }
    }
}

#[test]
fn rsa_uses_the_hash_that_was_asked_for_and_never_sha1() {
    let key = Key::rsa();
    let (stage, token) = Stage::with_key(&key);
    let mut client = stage.admitted(&token);
    let table = [(0, "256"), (2, "256"), (4, "512"), (6, "512"), (1, "256"), (u32::MAX, "512")];
    for (flags, size) in table {
        let signature = client.sign(&key.blob, b"text", flags).unwrap();
        assert_eq!(key.verified(b"text", &signature), format!("rsa-sha2-{size}"), "flags {flags}");
    }
}

#[test]
fn everything_else_is_refused_and_the_connection_stays() {
    let key = Key::ed25519();
    let (stage, token) = Stage::with_key(&key);
    let mut client = stage.admitted(&token);
    // Adding (plain, constrained, from hardware), removing, locking, unlocking, extensions, answers, nonsense.
    for kind in [17, 25, 20, 26, 18, 19, 21, 9, 22, 23, 27, 12, 14, 1, 0, 255] {
        for payload in [&b""[..], &[0; 40], &strings(&[b"session-bind@openssh.com", &key.blob])] {
            assert_eq!(client.ask(&[&[kind], payload].concat()), FAILURE, "type {kind}");
        }
    }
    assert_eq!(client.list().len(), 1);
    assert!(client.sign(&key.blob, b"x", 0).is_some());
}

#[test]
fn torn_requests_and_unknown_keys_are_refused() {
    let key = Key::ed25519();
    let (stage, token) = Stage::with_key(&key);
    let mut client = stage.admitted(&token);
    let whole = sign_request(&key.blob, b"x", 0);
    for end in 1..whole.len() {
        assert_eq!(client.ask(&whole[..end]), FAILURE, "{end} bytes");
    }
    assert_eq!(client.sign(&Key::ed25519().blob, b"x", 0), None);
    assert_eq!(client.sign(b"", b"x", 0), None);
    let extra = client.ask(&[&whole[..], b"what follows is ignored"].concat());
    assert_eq!(extra[0], 14);
}

#[test]
fn a_frame_has_between_one_and_262144_bytes() {
    let key = Key::ed25519();
    let (stage, token) = Stage::with_key(&key);
    let around = sign_request(&key.blob, b"", 0).len();
    let data = vec![7; LONGEST_FRAME - around];
    let signature = stage.admitted(&token).sign(&key.blob, &data, 0).unwrap();
    key.verified(&data, &signature);
    for length in [0, LONGEST_FRAME as u32 + 1, u32::MAX] {
        let mut client = stage.admitted(&token);
        assert_eq!(client.list().len(), 1);
        client.send(&length.to_be_bytes());
        assert!(client.is_closed(), "{length}");
    }
}

#[test]
fn a_stored_key_that_cannot_be_used_is_left_out() {
    let (good, mut broken, mut wrong) = (Key::ed25519(), Key::ed25519(), Key::rsa());
    broken.der.truncate(20);
    wrong.der = b"not a key".to_vec();
    let mut stage = Stage::vault();
    for key in [&broken, &wrong, &good] {
        stage.add(SCOPE, "k", key);
    }
    stage.add("broken", "k", &broken);
    let tokens = [stage.token(SCOPE, SUBJECT), stage.token("broken", SUBJECT)];
    stage.serve(Access::Tokens(vault::Owner::Everyone));
    let mut client = stage.admitted(&tokens[0]);
    assert_eq!(client.list(), [(good.blob.clone(), "k".to_owned())]);
    for key in [&broken, &wrong] {
        assert_eq!(client.sign(&key.blob, b"x", 0), None);
    }
    assert!(client.sign(&good.blob, b"x", 0).is_some());
    assert!(stage.admitted(&tokens[1]).is_closed());
}

#[test]
fn requests_may_be_sent_ahead_of_their_answers() {
    let key = Key::ed25519();
    let (stage, token) = Stage::with_key(&key);
    let mut client = stage.connect();
    let request = strings(&[&sign_request(&key.blob, b"x", 0)]);
    let all = [strings(&[token.as_bytes()]), request.repeat(50)].concat();
    client.send(&all);
    for _ in 0..50 {
        assert_eq!(client.answer().unwrap()[0], 14);
    }
    client.finish();
    assert!(client.is_closed());
}
