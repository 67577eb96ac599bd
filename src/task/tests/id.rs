//! Identifiers: their form, and what a person types for one.

use std::collections::HashSet;

use base::fault::{Fault, Kind};

use crate::id::{HEADS, draw, is_id, normalise, resolve};

#[test]
fn drawn_identifiers_are_well_formed_and_differ() {
    let drawn: HashSet<String> = (0..10_000).map(|_| draw()).collect();
    assert!(drawn.len() > 9_900, "{}", drawn.len());
    assert!(drawn.iter().all(|id| is_id(id)));
    let heads: HashSet<char> = drawn.iter().filter_map(|id| id.chars().next()).collect();
    assert_eq!(heads.len(), HEADS.len());
}

#[test]
fn well_formed_is_exact() {
    for good in ["k3v8h", "g0000", "z9zzz"] {
        assert!(is_id(good), "{good}");
    }
    for bad in ["", "k3v8", "k3v8hh", "a3v8h", "i3v8h", "kkv8h", "k3v8l", "K3V8H", "k3v8h\n", "k3v8é"] {
        assert!(!is_id(bad), "{bad:?}");
    }
}

#[test]
fn typed_texts_are_normalised() {
    assert_eq!(normalise("K3-V8I"), "k3v81");
    assert_eq!(normalise("gO-lO"), "g010");
}

#[test]
fn a_prefix_means_one_task_or_says_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let book = dir.path().join("tasks");
    let code = |raw: &str| {
        let error = resolve(&book, "p", raw).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        (error.code(), error.to_string())
    };
    assert_eq!(code("k3").0, "task-none");
    std::fs::create_dir(&book).unwrap();
    for id in ["k3v8h", "k3v8j", "g1abc", "back"] {
        std::fs::write(book.join(format!("{id}_meta.yml")), "").unwrap();
    }
    assert_eq!(resolve(&book, "p", "G1").unwrap(), "g1abc");
    assert_eq!(resolve(&book, "p", "k3-v8h").unwrap(), "k3v8h");
    assert_eq!(code("O3v8h").0, "task-id-head");
    assert_eq!(code("k3-v8"), ("task-ambiguous", "`k3v8` is ambiguous: k3v8h, k3v8j".to_owned()));
    assert_eq!(code("k").0, "task-ambiguous");
    for raw in ["x!", "", "k3v8hx", "../x", "back", "3"] {
        assert_eq!(code(raw).0, "task-id-prefix", "{raw}");
    }
    assert!(code("X!").1.contains("X!"));
    assert_eq!(code("m").0, "task-no-match");
}
