//! How `containers.conf` texts change, and which of several files decides.

use super::*;

#[test]
fn texts() {
    let table = include_str!("../../tests/fixtures/supervisor/containers_conf.json");
    let cases: Vec<serde_json::Value> = serde_json::from_str(table).unwrap();
    assert!(cases.len() > 5);
    for case in cases {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c/containers.conf");
        if let Some(before) = case["before"].as_str() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, before).unwrap();
        }
        let conf = Conf::only(&path);
        let changed = conf.list(Path::new("/s/hooks"));
        match case["after"].as_str() {
            Some(after) => {
                let name = &case["name"];
                assert_eq!(changed.unwrap(), case["before"] != case["after"], "{name}");
                let text = std::fs::read_to_string(&path).unwrap();
                assert_eq!(without_defaults(&text), after, "{name}");
                conf.require(Path::new("/s/hooks")).unwrap();
                assert!(!conf.list(Path::new("/s/hooks")).unwrap(), "{name}: a second time");
            }
            None => {
                assert!(changed.is_err(), "{}", case["name"]);
                assert_eq!(std::fs::read_to_string(&path).unwrap(), case["before"]);
            }
        }
    }
}

/// A machine may have podman's default directories, which a new list takes over.
fn without_defaults(text: &str) -> String {
    DEFAULT_DIRS.iter().fold(text.to_owned(), |text, dir| text.replace(&format!("\"{dir}\", "), ""))
}

#[test]
fn the_last_file_with_a_list_decides() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name)
    };
    let ours = file("a", "[engine]\nhooks_dir = [\"/s/hooks\"]\n");
    let theirs = file("b", "[engine]\nhooks_dir = [\"/x\"]\n");
    let silent = file("c", "[containers]\n");
    let hooks = Path::new("/s/hooks");
    let conf = |read: &[&PathBuf], named: &[(&'static str, &PathBuf)]| {
        let find = |wanted| named.iter().find(|(name, _)| *name == wanted).map(|(_, path)| (*path).clone());
        let usual = read.iter().map(|p| (*p).clone()).collect();
        Conf(ConfFiles { usual, own: ours.clone(), alone: find(ALONE), last: find(LAST) })
    };
    conf(&[&theirs, &ours, &silent], &[]).require(hooks).unwrap();
    let hidden = conf(&[&ours, &theirs], &[]).require(hooks).unwrap_err();
    assert!(matches!(hidden, ConfFault::NotListed { path, .. } if path == theirs));
    for (name, file, good) in [
        ("CONTAINERS_CONF", &silent, false),
        ("CONTAINERS_CONF", &ours, true),
        ("CONTAINERS_CONF_OVERRIDE", &silent, true),
        ("CONTAINERS_CONF_OVERRIDE", &theirs, false),
    ] {
        let result = conf(&[&ours], &[(name, file)]).require(hooks);
        assert_eq!(result.is_ok(), good, "{name} {}", file.display());
    }
    let taken_over = Conf(ConfFiles {
        usual: vec![theirs.clone(), dir.path().join("new")],
        ..ConfFiles::only(&dir.path().join("new"))
    });
    taken_over.list(hooks).unwrap();
    let text = std::fs::read_to_string(dir.path().join("new")).unwrap();
    assert!(text.contains("[\"/x\", \"/s/hooks\"]"), "{text}");
}

#[test]
fn a_link_stays_a_link_and_the_mode_stays() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real"), dir.path().join("containers.conf"));
    std::fs::write(&real, "# mine\n").unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    Conf::only(&link).list(Path::new("/s/hooks")).unwrap();
    assert!(link.is_symlink() && std::fs::read_to_string(&real).unwrap().contains("/s/hooks"));
    assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
}
