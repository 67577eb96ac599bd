//! What a push may change, and what is kept of what it changes.

use crate::stage::{Stage, path, wait_until};

const NAMES: &str = include_str!("../../../tests/fixtures/gate/references.json");

#[test]
fn names_follow_the_table() {
    let table: serde_json::Value = serde_json::from_str(NAMES).unwrap();
    for (name, allowed) in table.as_object().unwrap() {
        let verdict = gate::reference::check(name.as_bytes());
        assert_eq!(verdict.is_ok(), allowed.as_bool().unwrap(), "{name}: {verdict:?}");
    }
    assert!(gate::reference::check(b"refs/heads/\xff").is_err());
    assert!(gate::reference::check(format!("refs/heads/{}", "x/".repeat(300) + "x").as_bytes()).is_err());
}

// improves: 22-2.2-push-policy
#[test]
fn only_branches_and_tags_can_be_pushed_and_git_says_why() {
    let stage = Stage::seeded();
    let work = stage.work();
    let names = "refs/notes/commits refs/terok/upstream/heads/main refs/terok/backup/x refs/remotes/origin/main \
                 refs/for/main refs/heads/-d refs/heads/1111111111111111111111111111111111111111";
    for name in names.split_whitespace() {
        let said = stage.fails_at(&work, &["push", "origin", &format!("HEAD:{name}"), "HEAD:refs/heads/companion"]);
        assert!(said.contains("[remote rejected]"), "{name}: {said}");
        assert!(said.contains("another reference of this push is refused"), "{name}: {said}");
    }
    assert_eq!(stage.references("refs"), ["refs/heads/main"]);
    let said = stage.fails_at(&work, &["push", "origin", "HEAD:refs/notes/x"]);
    assert!(said.contains("only refs/heads/ and refs/tags/ can be pushed"), "{said}");
    stage.run_at(&work, &["push", "-q", "origin", "HEAD:refs/heads/feature/a.b-c", "HEAD:refs/tags/v1"]);
}

// improves: 22-2.2-push-policy
#[test]
fn old_tips_stay_reachable_whatever_is_pushed() {
    let stage = Stage::seeded();
    let work = stage.work();
    let mut pushed = vec![stage.tip(&work, "HEAD")];
    for round in 0..3 {
        stage.run_at(&work, &["commit", "-q", "--amend", "-m", &format!("rewritten {round}")]);
        stage.run_at(&work, &["push", "-q", "--force", "origin", "main"]);
        pushed.push(stage.tip(&work, "HEAD"));
    }
    stage.run_at(&work, &["push", "-q", "origin", "HEAD:gone"]);
    let lonely = stage.commit(&work, "lonely", b"lonely\n");
    stage.run_at(&work, &["push", "-q", "origin", "HEAD:gone"]);
    stage.run_at(&work, &["push", "-q", "origin", ":gone"]);
    pushed.push(lonely);
    stage.run_at(&work, &["tag", "-a", "t", "-m", "first"]);
    let tag = stage.tip(&work, "t");
    stage.run_at(&work, &["push", "-q", "origin", "t"]);
    stage.run_at(&work, &["tag", "-f", "-a", "t", "-m", "second"]);
    stage.run_at(&work, &["push", "-q", "--force", "origin", "t"]);
    let reachable = stage.run_at(&stage.repository(), &["rev-list", "--all", "--objects"]);
    for commit in pushed.iter().chain([&tag]) {
        assert!(reachable.contains(commit.as_str()), "{commit} is lost");
    }
    assert!(stage.references("refs/heads/gone").is_empty());
    // The container neither sees nor fetches the names of what was kept.
    let seen = stage.run_at(&work, &["ls-remote", "origin"]);
    assert!(!seen.contains("refs/terok"), "{seen}");
    stage.fails_at(&work, &["fetch", "origin", &format!("refs/terok/backup/heads/main/{}", pushed[0])]);
    stage.assert_intact();
}

#[test]
fn a_branch_that_moves_forward_leaves_nothing_behind() {
    let stage = Stage::seeded();
    let work = stage.work();
    for number in 0..3 {
        stage.commit_and_push(&work, &format!("f{number}"), b"x\n");
    }
    wait_until("names of old tips are taken away", || stage.references("refs/terok").is_empty());
}

#[test]
fn a_push_from_an_old_view_is_refused_and_keeps_nothing() {
    let stage = Stage::seeded();
    let work = stage.work();
    let other = stage.dir.path().join("other");
    stage.run(&["clone", "-q", &stage.url(), path(&other)]);
    stage.commit(&other, "theirs", b"theirs\n");
    let mine = stage.commit(&work, "mine", b"mine\n");
    // Between the list of references and the push, somebody else pushes: a hook of the client is that moment.
    let hook = work.join(".git/hooks/pre-push");
    let script = format!("#!/bin/sh\nunset GIT_DIR GIT_PREFIX\ngit -C '{}' push -q origin main\n", path(&other));
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&hook, mode).unwrap();
    let said = stage.fails_at(&work, &["push", "--force", "origin", "main"]);
    assert!(said.contains("fetch first"), "{said}");
    assert_ne!(stage.tip(&stage.repository(), "main"), mine);
    assert_eq!(stage.tip(&stage.repository(), "main"), stage.tip(&other, "HEAD"));
}

#[test]
fn atomic_pushes_and_quiet_clients_get_their_report() {
    let stage = Stage::seeded();
    let work = stage.work();
    stage.run_at(&work, &["push", "-q", "--atomic", "origin", "HEAD:a", "HEAD:b"]);
    let said = stage.fails_at(&work, &["push", "--atomic", "origin", "HEAD:c", "HEAD:refs/notes/n"]);
    assert!(said.contains("rejected"), "{said}");
    assert_eq!(stage.references("refs/heads"), ["refs/heads/a", "refs/heads/b", "refs/heads/main"]);
    stage.run_at(&work, &["push", "-q", "-o", "ci.skip", "-o", "x=y", "origin", "HEAD:d"]);
    stage.run_at(&work, &["-c", "push.pushOption=ci.skip", "push", "-q", "origin", ":d"]);
    let said = stage.fails_at(&work, &["push", "--signed", "origin", "HEAD:d"]);
    assert!(said.contains("--signed"), "{said}");
}

#[test]
fn hundreds_of_references_arrive_in_one_push() {
    let stage = Stage::seeded();
    let work = stage.work();
    let script: String = (0..300).map(|n| format!("tag-{n}\n")).collect();
    let names: Vec<String> = script.lines().map(|name| format!("HEAD:refs/tags/{name}")).collect();
    let words: Vec<&str> = ["push", "-q", "origin"].into_iter().chain(names.iter().map(String::as_str)).collect();
    stage.run_at(&work, &words);
    assert_eq!(stage.references("refs/tags").len(), 300);
    // Once more, with all of them deleted: each old tip is kept.
    let gone: Vec<String> = script.lines().map(|name| format!(":refs/tags/{name}")).collect();
    let words: Vec<&str> = ["push", "-q", "origin"].into_iter().chain(gone.iter().map(String::as_str)).collect();
    stage.run_at(&work, &words);
    assert_eq!((stage.references("refs/tags").len(), stage.references("refs/terok/backup").len()), (0, 300));
}

// improves: 22-S7-own-git-settings
#[test]
fn no_hook_and_no_setting_of_others_takes_part() {
    use std::os::unix::fs::PermissionsExt;
    let stage = Stage::seeded();
    let repository = stage.repository();
    let trap = stage.dir.path().join("sprung");
    let script = format!("#!/bin/sh\necho \"$0\" >> '{}'\n", path(&trap));
    for name in ["pre-receive", "update", "post-receive", "post-update", "reference-transaction", "proc-receive"] {
        let hook = repository.join("hooks").join(name);
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        std::fs::write(&hook, &script).unwrap();
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let hook = path(&trap).to_owned() + ".sh";
    std::fs::write(&hook, &script).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    for (key, value) in [
        ("core.hooksPath", path(&repository.join("hooks"))),
        ("uploadpack.packObjectsHook", &hook),
        ("core.fsmonitor", &hook),
        ("receive.denyNonFastForwards", "false"),
        ("transfer.hideRefs", "!refs/terok"),
        ("receive.fsckObjects", "false"),
    ] {
        stage.run_at(&repository, &["config", "--add", key, value]);
    }
    // The operator's own settings, where git would find them.
    let home =
        format!("[core]\n hooksPath = {}\n[uploadpack]\n packObjectsHook = {hook}\n", path(&repository.join("hooks")));
    std::fs::write(stage.dir.path().join(".gitconfig"), &home).unwrap();
    let work = stage.work();
    stage.commit(&work, "more", b"more\n");
    stage.run_at(&work, &["push", "-q", "--no-verify", "origin", "main", "HEAD:other"]);
    stage.run(&["clone", "-q", &stage.url(), path(&stage.dir.path().join("copy"))]);
    stage.run_at(&repository, &["-c", "core.hooksPath=/dev/null", "update-ref", "refs/terok/backup/heads/x/1", "main"]);
    assert!(!stage.run_at(&work, &["ls-remote", "origin"]).contains("refs/terok"));
    // The clients here use the same home; only what the gate's git ran would name the mirror.
    let sprung = std::fs::read_to_string(&trap).unwrap_or_default();
    assert!(!sprung.contains("mirrors/proj.git/hooks/p") && !sprung.contains("update"), "{sprung}");
    assert!(stage.references("refs/heads").contains(&"refs/heads/other".to_owned()));
}
