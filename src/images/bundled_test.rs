//! The recipes with the bundled roster data: both package families, every entry, nothing from outside the registries.

use std::path::Path;

use serde_json::Value;

use crate::base_image::Family;
use crate::selection::{Catalog, Entry, Section, Selection};
use crate::{hash, render, selection, stage};

/// The bundled entries as this room sees them.
pub(crate) fn catalog() -> Catalog {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/terok_executor/resources/agents");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "yaml"));
    paths.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), entry(&std::fs::read_to_string(path).unwrap()))).collect()
}

fn entry(text: &str) -> Entry {
    let value = base::yaml::parse(text).unwrap();
    let text = |section: &str, key: &str| value[section][key].as_str().unwrap_or_default().to_owned();
    let depends = value["install"]["depends_on"].as_array().cloned().unwrap_or_default();
    Entry {
        installable: value["install"] != Value::Null,
        depends_on: depends.iter().map(|d| d.as_str().unwrap().to_owned()).collect(),
        run_as_root: text("install", "run_as_root"),
        run_as_dev: text("install", "run_as_dev"),
        help_label: text("help", "label"),
        help_section: if text("help", "section") == "dev_tool" { Section::DevTool } else { Section::Agent },
    }
}

fn l1(family: Family, selection: &str) -> String {
    let catalog = catalog();
    let agents = selection::resolve(&catalog, &Selection::parse(selection)).unwrap();
    render::l1("terok-l0:x", family, &catalog, &agents, "0").unwrap()
}

/// Every recipe there is, with its name.
fn recipes() -> Vec<(String, String)> {
    let mut out = Vec::new();
    for family in [Family::Deb, Family::Rpm] {
        out.push((format!("l0 {family:?}"), render::l0("ubuntu:24.04", family, true).unwrap()));
        out.push((format!("l1 {family:?}"), l1(family, "all")));
        out.push((format!("sidecar {family:?}"), render::sidecar("terok-l0:x", family, "coderabbit", "0").unwrap()));
    }
    out
}

#[test]
fn no_family_mentions_the_package_manager_of_the_other() {
    for (name, text) in recipes() {
        let (own, other) = if name.contains("Deb") { ("apt-get install", "dnf") } else { ("dnf install", "apt-get") };
        assert!(text.contains(own) && !text.contains(other), "{name}\n{text}");
        assert!(text.starts_with("# syntax=docker/dockerfile:1\n"), "{name}");
        assert!(!text.contains("{{") && !text.contains("{%"), "{name}");
    }
}

#[test]
fn nothing_is_piped_into_a_shell_or_taken_from_a_release_page() {
    for (name, text) in recipes() {
        for word in
            ["| bash", "| sh", "|bash", "|sh", "curl -", "wget ", "github.com", "add-apt-repository", "rpm --import"]
        {
            let fits = text.lines().any(|l| !l.trim_start().starts_with("packages=") && l.contains(word));
            assert!(!fits || word == "wget " && text.contains(" unzip wget socat"), "{name}: {word}");
        }
        for line in text.lines().filter(|l| l.contains("npm install") || l.contains("pipx install")) {
            assert!(!line.contains("@latest"), "{name}: {line}");
        }
    }
}

#[test]
fn every_run_is_continued_to_its_end() {
    for (name, text) in recipes() {
        let lines: Vec<&str> = text.lines().filter(|l| !l.trim_start().starts_with('#')).collect();
        for pair in lines.windows(2).filter(|p| p[0].ends_with('\\')) {
            assert!(!pair[1].trim().is_empty(), "{name}: {}", pair[0]);
        }
        let known = ["ARG ", "FROM ", "USER ", "ENV ", "RUN ", "COPY ", "WORKDIR ", "CMD ", "LABEL "];
        let starts = lines.windows(2).filter(|p| !p[0].ends_with('\\') && !p[1].is_empty()).map(|p| p[1]);
        for line in starts {
            assert!(known.iter().any(|k| line.starts_with(k)), "{name}: {line}");
        }
    }
}

#[test]
fn the_text_other_tools_look_for() {
    let deb = l1(Family::Deb, "vibe,codex");
    for part in [
        "pipx install mistral-vibe",
        "pipx inject mistral-vibe mistralai",
        "PIPX_HOME=/opt/pipx",
        "PIPX_BIN_DIR=/usr/local/bin",
        "@openai/codex",
        "bashrc=/etc/bash.bashrc",
        "cat /tmp/terok-bash-banner.sh >> \"$bashrc\"",
        "ARG AGENT_CACHE_BUST=0",
        "LABEL ai.terok.agents=\"codex,vibe\"",
        "'codex,vibe' > /etc/terok/installed.env",
        "codex-acp=${CODEX_ACP_VERSION}",
    ] {
        assert!(deb.contains(part), "{part}");
    }
    assert!(!deb.contains("claude") && !deb.contains("opencode-ai"));
    assert!(l1(Family::Rpm, "vibe").contains("bashrc=/etc/bashrc"));
    assert!(l1(Family::Deb, "blablador").contains("LABEL ai.terok.agents=\"blablador,opencode\""));
    let l0 = render::l0("ubuntu:24.04", Family::Deb, false).unwrap();
    for part in [
        "ARG BASE_IMAGE=ubuntu:24.04\nFROM ${BASE_IMAGE}",
        "LANG=\"en_US.UTF-8\"",
        "LC_ALL=\"en_US.UTF-8\"",
        "LANGUAGE=\"en_US:en\"",
        "locale-gen en_US.UTF-8",
        "visudo -cf /etc/sudoers.d/dev",
        "CMD [\"init-ssh-and-repo.sh\"]",
    ] {
        assert!(l0.contains(part), "{part}");
    }
    assert!(!l0.contains("COPY ca/") && !l0.contains("SSL_CERT_FILE"));
}

#[test]
fn what_recipes_copy_is_staged() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = catalog();
    let agents = selection::resolve(&catalog, &Selection::all()).unwrap();
    stage::context(folder.path(), &catalog, &agents).unwrap();
    stage::context(folder.path(), &catalog, &agents).unwrap();
    for (name, text) in recipes().into_iter().filter(|(name, _)| !name.starts_with("sidecar")) {
        for line in text.lines().filter(|l| l.starts_with("COPY ") && !l.starts_with("COPY ca/")) {
            let sources = line.split_whitespace().skip(1).filter(|w| !w.starts_with("--"));
            let mut sources: Vec<&str> = sources.collect();
            sources.pop();
            for source in sources {
                assert!(folder.path().join(source).exists(), "{name}: {line}");
            }
        }
        for word in text.split_whitespace().filter_map(|w| w.strip_prefix("/tmp/terok-scripts/")) {
            assert!(word.is_empty() || folder.path().join("scripts").join(word).exists(), "{name}: {word}");
        }
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = folder.path().join("scripts/ensure-bridges.sh").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    assert!(!folder.path().join("scripts/__init__.py").exists());
}

#[test]
fn an_undefined_variable_and_a_forged_name_are_faults() {
    let mut catalog = catalog();
    catalog.get_mut("claude").unwrap().run_as_dev = "RUN echo {{ project }}".into();
    let agents = ["claude".to_owned()];
    assert!(render::l1("terok-l0:x", Family::Deb, &catalog, &agents, "0").is_err());
    assert!(render::l0("ubuntu:24.04\nRUN x", Family::Deb, false).is_err());
    assert!(render::l1("x\nRUN y", Family::Deb, &catalog, &[], "0").is_err());
    for bad in ["", "../x", "a b", "a;b", "a\nRUN b"] {
        assert!(render::sidecar("terok-l0:x", Family::Deb, bad, "0").is_err(), "{bad:?}");
    }
    assert!(!render::sidecar("terok-l0:x", Family::Deb, "a", "1\nRUN x").unwrap().contains("\nRUN x"));
}

#[test]
fn entries_say_which_python_they_need() {
    let catalog = catalog();
    assert_eq!(render::needed_python(&catalog["vibe"]), Some((3, 12)));
    assert_eq!(render::needed_python(&catalog["toad"]), Some((3, 14)));
    assert_eq!(render::needed_python(&catalog["claude"]), None);
}

#[test]
fn hashes_follow_their_own_layer_only() {
    let catalog = catalog();
    let agents = ["claude".to_owned()];
    let of = |base: &str| hash::current(base, Family::Deb, &catalog, &agents).unwrap();
    let (l0, l1) = of("debian:13");
    assert_eq!(of("debian:13"), (l0.clone(), l1.clone()));
    assert_ne!(of("debian:14").0, l0);
    let more = ["claude".to_owned(), "codex".to_owned()];
    let other = hash::current("debian:13", Family::Deb, &catalog, &more).unwrap();
    assert!(other.0 == l0 && other.1 != l1);
    let text = render::l0("debian:13", Family::Deb, false).unwrap();
    assert_ne!(hash::l0("debian:13", &(text + "\n")), l0);
    let mut relabelled = catalog.clone();
    relabelled.get_mut("claude").unwrap().help_label = "x".into();
    assert_ne!(hash::current("debian:13", Family::Deb, &relabelled, &agents).unwrap().1, l1);
    assert_eq!(hash::of(["a", "b"]).len(), 64);
    assert_ne!(hash::of(["a", "b"]), hash::of(["ab"]));
}
