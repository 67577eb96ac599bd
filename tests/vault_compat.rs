//! A vault written by the original opens here, and keeps what it holds.

use base::secret::Secret;
use terok::{base, vault};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vault/original-0.8.0.db");

#[test]
fn a_vault_of_the_original_opens_and_stays_readable() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("credentials.db");
    std::fs::copy(FIXTURE, &path).unwrap();
    let store = vault::Store::open(&path, &Secret::new("correct horse")).unwrap();
    assert_eq!(store.list_credentials("default").unwrap(), ["claude", "gh"]);
    let record = store.load_credential("default", "gh").unwrap().unwrap();
    assert_eq!((record["token"].as_str(), record["extra"].as_array().map(Vec::len)), (Some("gho_x"), Some(2)));
    let row = store.lookup_token("terok-p-5570cdc91509df7f58f4a7758c25e6a1").unwrap().unwrap();
    assert_eq!((row.scope.as_str(), row.subject.as_str()), ("proj", "task1"));
    assert_eq!(store.list_ssh_keys_for_scope("proj").unwrap()[0].comment, "tk-main:proj");
    assert!(vault::Store::open(&path, &Secret::new("wrong horse")).is_err());
}
