//! Names: what a person types, and those that are made up.

use serde_json::Value;

use crate::name::{self, categories, default_categories, generate, objection, sanitise};

fn table() -> Value {
    serde_json::from_str(include_str!("../../../tests/fixtures/task/name.json")).unwrap()
}

// improves: 31-1.2-cut-name
#[test]
fn names_are_made_plain() {
    for row in table()["sanitise"].as_array().unwrap() {
        assert_eq!(sanitise(row[0].as_str().unwrap()).as_deref(), row[1].as_str(), "{row}");
    }
    assert!(objection("-x").is_some() && objection("x-").is_none());
}

#[test]
fn a_project_without_a_choice_always_has_the_same_categories() {
    assert_eq!(categories().len(), 25);
    for (project, expected) in table()["default_categories"].as_object().unwrap() {
        assert_eq!(&serde_json::to_value(default_categories(project)).unwrap(), expected, "{project}");
    }
}

// improves: 31-1.2-unknown-category
#[test]
fn made_up_names_come_from_the_chosen_categories() {
    for category in categories() {
        let made = generate(&[category.to_owned()]).unwrap();
        assert_eq!(sanitise(&made).as_ref(), Some(&made));
        assert!(made.len() <= name::MAX_LEN && made.contains('-'), "{made}");
    }
    assert!(generate(&[]).is_ok());
    let unknown = generate(&["art".to_owned(), "cars".to_owned()]).unwrap_err();
    assert_eq!(unknown.to_string(), "unknown category of task names `cars`");
    assert_eq!(base::fault::Fault::kind(&unknown), base::fault::Kind::Usage);
}
