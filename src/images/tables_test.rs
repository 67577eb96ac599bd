//! The rules that are tables: the same data files are read by the Python tests.

use serde_json::Value;

use base::fault::Fault;

use crate::bundled_test::catalog;
use crate::{Selection, base_image, help, selection, tag};

fn table(name: &str) -> Value {
    let path = format!("{}/../../tests/fixtures/images/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn names(value: &Value) -> Option<Vec<String>> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn tags() {
    let table = table("tags");
    for row in rows(&table["base"]) {
        assert_eq!(tag::base_tag(row[0].as_str().unwrap()), row[1].as_str().unwrap(), "{row}");
    }
    for row in rows(&table["l1"]) {
        let agents = names(&row[1]);
        assert_eq!(tag::l1(row[0].as_str().unwrap(), agents.as_deref()), row[2].as_str().unwrap());
    }
}

#[test]
fn long_tags_stay_distinct_and_short() {
    let long = "r".repeat(115);
    let (a, b) = (["claude".to_owned(), "codex".to_owned()], ["codex".to_owned(), "claude".to_owned()]);
    let one = tag::l1(&long, Some(&a));
    assert_eq!(one, tag::l1(&long, Some(&b)));
    assert_ne!(one, tag::l1(&long, Some(&a[..1])));
    let part = one.split_once(':').unwrap().1;
    assert_eq!(part.len(), 120);
    assert!(part.rsplit('-').next().unwrap().bytes().all(|b| b.is_ascii_hexdigit()), "{part}");
    let longer = tag::base_tag(&format!("host.example/{}", "x".repeat(200)));
    assert_eq!(longer.len(), 120);
    assert_ne!(longer, tag::base_tag(&format!("host.example/{}", "x".repeat(201))));
}

#[test]
fn every_bundled_entry_has_a_readable_tag() {
    let all = selection::resolve(&catalog(), &Selection::all()).unwrap();
    let full = tag::l1("fedora:44", Some(&all));
    assert!(full.ends_with("-sonar-toad-vibe"), "{full}");
}

#[test]
fn families() {
    for row in rows(&table("families")) {
        let found = base_image::family(row[0].as_str().unwrap(), row[1].as_str());
        let text = found.map_or_else(|fault| fault.code(), |family| family.name());
        assert_eq!(text, row[2].as_str().unwrap(), "{row}");
    }
    let fault = base_image::family("rockylinux:9", None).unwrap_err();
    assert!(fault.to_string().contains("Cannot infer package family") && fault.to_string().contains("family: deb"));
}

#[test]
fn references() {
    let table = table("references");
    for good in rows(&table["good"]) {
        assert!(base_image::validate(good.as_str().unwrap()).is_ok(), "{good}");
    }
    for bad in rows(&table["bad"]) {
        assert!(base_image::validate(bad.as_str().unwrap()).is_err(), "{bad}");
    }
    assert!(base_image::validate(&"a".repeat(257)).is_err());
    for row in rows(&table["parts"]) {
        let parts = base_image::split(row[0].as_str().unwrap());
        assert_eq!(parts, (row[1].as_str().unwrap(), row[2].as_str().unwrap()));
    }
}

#[test]
fn selections() {
    let catalog = catalog();
    for row in rows(&table("selections")) {
        let resolved = selection::resolve(&catalog, &Selection::parse(row[0].as_str().unwrap()));
        match row[1].as_str() {
            Some(text) => {
                let fault = resolved.unwrap_err();
                assert!(fault.to_string().starts_with(text), "{row}: {fault}");
                assert!(fault.to_string().contains("available: blablador, caddy"), "{fault}");
            }
            None => assert_eq!(Some(resolved.unwrap()), names(&row[1]), "{row}"),
        }
    }
    let fault = selection::resolve(&catalog, &Selection::Word("claude".into())).unwrap_err();
    assert_eq!((fault.code(), fault.kind()), ("selection-type", base::fault::Kind::Type));
    assert!(fault.to_string().contains("'all' or a tuple"));
}

#[test]
fn a_dependency_without_a_recipe_is_a_fault() {
    let mut catalog = catalog();
    catalog.get_mut("claude").unwrap().depends_on = vec!["coderabbit".into()];
    let fault = selection::resolve(&catalog, &Selection::parse("claude")).unwrap_err();
    assert_eq!(fault.code(), "entry-dependency");
}

#[test]
fn help_labels() {
    for row in rows(&table("help_labels")) {
        assert_eq!(help::unescape(row[0].as_str().unwrap()), row[1].as_str().unwrap());
    }
}

#[test]
fn help_sections_without_lines_have_no_file() {
    let files = |agents: &[&str]| {
        let agents: Vec<String> = agents.iter().map(|a| (*a).to_owned()).collect();
        help::fragments(&catalog(), &agents)
    };
    let both = files(&["claude", "gh"]);
    assert_eq!(both.iter().map(|(file, _)| *file).collect::<Vec<_>>(), ["agents.txt", "dev-tools.txt"]);
    assert!(both[0].1.starts_with("  \u{1b}[36mclaude\u{1b}[0m") && both[0].1.ends_with('\n'), "{:?}", both[0].1);
    assert_eq!(files(&["claude"]).len(), 1);
    assert!(files(&["caddy"]).is_empty());
}
