//! What a token opens, and what ends when it is revoked.

use server::Running;
use signer::Access;
use vault::Owner;

use crate::stage::{Client, FAILURE, Key, SCOPE, SUBJECT, Stage, owner, sign_request, strings};

// improves: 21-6.3-token-each-signature
#[test]
fn a_revoked_token_neither_signs_nor_lists_on_an_open_connection() {
    let key = Key::ed25519();
    let (stage, token) = Stage::with_key(&key);
    let mut connections: Vec<_> = (0..3).map(|_| stage.admitted(&token)).collect();
    for client in &mut connections {
        assert!(client.sign(&key.blob, b"x", 0).is_some());
    }
    assert_eq!(stage.store.revoke_tokens(SCOPE, SUBJECT).unwrap(), 1);
    for (client, request) in
        connections.iter_mut().zip([sign_request(&key.blob, b"x", 0), vec![11], sign_request(b"", b"", 0)])
    {
        assert_eq!(client.ask(&request), FAILURE);
        assert!(client.is_closed());
    }
    assert!(stage.admitted(&token).is_closed());
}

#[test]
fn a_key_comes_and_goes_at_once() {
    let (first, second) = (Key::ed25519(), Key::ed25519());
    let (stage, token) = Stage::with_key(&first);
    let mut client = stage.admitted(&token);
    let id = stage.add(SCOPE, "tk-main:proj", &second);
    assert_eq!(client.list()[0].0, second.blob);
    assert!(client.sign(&second.blob, b"x", 0).is_some());
    stage.store.unassign_ssh_key(SCOPE, id, false).unwrap();
    assert_eq!(client.sign(&second.blob, b"x", 0), None);
    assert_eq!(client.list().len(), 1);
    stage.store.unassign_all_ssh_keys(SCOPE, false).unwrap();
    assert_eq!(client.sign(&first.blob, b"x", 0), None);
    assert_eq!(client.list(), []);
}

#[test]
fn two_containers_share_no_key() {
    let keys = [Key::ed25519(), Key::rsa()];
    let shared = Key::ed25519();
    let vault = Stage::vault();
    for (scope, key) in ["a", "b"].iter().zip(&keys) {
        vault.add(scope, "own", key);
        vault.add(scope, "shared", &shared);
    }
    let tokens = ["a", "b"].map(|scope| vault.token(scope, SUBJECT));
    let sockets = ["a", "b"].map(|scope| {
        let access = Access::Tokens(Owner::new(scope, SUBJECT));
        let path = vault.dir.path().join(format!("{scope}.sock"));
        (Running::unix(vault.agent(access), &path).unwrap(), path)
    });
    for (mine, theirs) in [(0, 1), (1, 0)] {
        let connect = |token: &str| {
            let mut client = Client::connect(&sockets[mine].1);
            client.send(&strings(&[token.as_bytes()]));
            client
        };
        assert!(connect(&tokens[theirs]).is_closed(), "a foreign token at our socket");
        let mut client = connect(&tokens[mine]);
        let mut offered: Vec<_> = client.list().into_iter().map(|(blob, _)| blob).collect();
        let mut expected = [keys[mine].blob.clone(), shared.blob.clone()];
        offered.sort();
        expected.sort();
        assert_eq!(offered, expected);
        for flags in [0, 2, 4] {
            assert_eq!(client.sign(&keys[theirs].blob, b"x", flags), None);
        }
        assert!(client.sign(&keys[mine].blob, b"x", 0).is_some());
    }
}

#[test]
fn a_local_agent_wants_no_token_and_knows_one_scope() {
    let (ours, theirs) = (Key::ed25519(), Key::ed25519());
    let mut stage = Stage::vault();
    stage.add(SCOPE, "ours", &ours);
    stage.add("other", "theirs", &theirs);
    stage.serve(Access::Scope(SCOPE.into()));
    let mut client = stage.connect();
    assert_eq!(client.list(), [(ours.blob.clone(), "ours".to_owned())]);
    let signature = client.sign(&ours.blob, b"x", 0).unwrap();
    ours.verified(b"x", &signature);
    assert_eq!(client.sign(&theirs.blob, b"x", 0), None);
    // A token is taken for a message here, and its length for one that no message has.
    let mut confused = stage.admitted(&"t".repeat(40));
    assert_eq!(confused.answer().unwrap(), FAILURE);
    stage.serve(Access::Scope("empty".into()));
    assert_eq!(stage.connect().list(), []);
}

// holds: no-owner-no-access
#[test]
fn ssh_token_is_refused_without_an_owner_and_by_another_one() {
    let key = Key::ed25519();
    let mut stage = Stage::vault();
    stage.add(SCOPE, "k", &key);
    let token = stage.token(SCOPE, "other");
    stage.serve(Access::Tokens(Owner::Everyone));
    assert_eq!(stage.admitted(&token).list().len(), 1);
    for owner in [owner(), Owner::Unknown] {
        stage.serve(Access::Tokens(owner));
        assert!(stage.admitted(&token).is_closed());
    }
}
