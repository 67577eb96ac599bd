//! Patches of shared settings: idempotent, reversible, and deaf to what a container planted.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::fault::AgentError;
use crate::model::Roster;
use crate::patch::{RECORD, Target, apply};
use crate::roster::{Strictness, bundled, load};

struct Bench(tempfile::TempDir, Roster);

impl Bench {
    fn new() -> Self {
        let roster = load(&bundled(), &[], Strictness::Strict, &mut Vec::new()).unwrap();
        Self(tempfile::tempdir().unwrap(), roster)
    }

    fn file(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn with(&self, path: &str, text: &str) {
        fs::create_dir_all(self.file(path).parent().unwrap()).unwrap();
        fs::write(self.file(path), text).unwrap();
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.file(path)).unwrap()
    }

    fn run(&self, enabled: &[&str], disabled: &[&str]) -> Result<(), AgentError> {
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let target = Target { url: "http://localhost:9419".into(), socket: "/run/terok/vault.sock".into() };
        apply(&self.1, self.0.path(), names(enabled), &names(disabled), &target)
    }
}

const ALL: [&str; 3] = ["codex", "gh", "vibe"];
const FILES: [&str; 3] = ["_codex-config/config.toml", "_gh-config/config.yml", "_vibe-config/config.toml"];

#[test]
fn fresh_files_and_a_second_run() {
    let bench = Bench::new();
    bench.run(&ALL, &[]).unwrap();
    assert_eq!(
        bench.text(FILES[0]),
        "openai_base_url = \"http://localhost:9419/v1\"\nchatgpt_base_url = \"http://localhost:9419/backend-api/\"\n"
    );
    assert_eq!(bench.text(FILES[1]), "http_unix_socket: \"/run/terok/vault.sock\"\n");
    assert!(
        bench.text(FILES[2]).contains("[[providers]]\nname = \"mistral\"\napi_base = \"http://localhost:9419/v1\"")
    );
    let state = || ALL.map(|n| fs::read(bench.file(&format!("_{n}-config/{RECORD}"))).unwrap());
    let (before, texts) = (state(), FILES.map(|f| bench.text(f)));
    bench.run(&ALL, &[]).unwrap();
    assert_eq!((state(), FILES.map(|f| bench.text(f))), (before, texts));
    bench.run(&[], &ALL).unwrap();
    assert_eq!(FILES.map(|f| bench.text(f)), ["", "", ""]);
    assert!(ALL.iter().all(|n| !bench.file(&format!("_{n}-config/{RECORD}")).exists()));
}

#[test]
fn the_users_own_survives() {
    let bench = Bench::new();
    bench.with(FILES[0], "# mine\nmodel = 'x' # why\n\n[profiles.a]\nk = 1\n");
    bench.with(FILES[1], "# gh\nversion: '1'\naliases:\n  co: pr checkout\n");
    bench.with(FILES[2], "[[providers]]\nname = \"other\"\n\n[[providers]]\nname = \"mistral\"\nbackend = \"b\"\n");
    bench.run(&ALL, &[]).unwrap();
    for (file, part) in
        [(0, "# mine\nmodel = 'x' # why\n"), (0, "[profiles.a]\nk = 1\n"), (1, "aliases:\n  co: pr checkout\n")]
    {
        assert!(bench.text(FILES[file]).contains(part), "{}", bench.text(FILES[file]));
    }
    assert!(bench.text(FILES[0]).find("openai_base_url").unwrap() < bench.text(FILES[0]).find("[profiles").unwrap());
    let edited = bench.text(FILES[0]).replace("localhost:9419/v1", "own.example/v1");
    fs::write(bench.file(FILES[0]), edited).unwrap();
    bench.run(&[], &ALL).unwrap();
    assert!(bench.text(FILES[0]).contains("own.example") && !bench.text(FILES[0]).contains("chatgpt_base_url"));
    assert!(
        bench.text(FILES[2]).contains("name = \"mistral\"\nbackend = \"b\"")
            && !bench.text(FILES[2]).contains("api_base")
    );
    assert_eq!(bench.text(FILES[1]), "# gh\nversion: '1'\naliases:\n  co: pr checkout\n");
}

#[test]
fn what_cannot_be_parsed_is_kept_beside_and_begun_anew() {
    let bench = Bench::new();
    for (index, name) in ALL.iter().enumerate() {
        bench.with(FILES[index], "a = [: {");
        bench.run(&[name], &[]).unwrap();
        assert_eq!(bench.text(&format!("{}.terok-bak", FILES[index])), "a = [: {");
        assert!(bench.text(FILES[index]).contains("9419") || bench.text(FILES[index]).contains("vault.sock"));
    }
    let said = base::notice::take().join("\n");
    assert!(FILES.iter().all(|file| said.contains(&format!("{file}.terok-bak"))), "{said}");
}

#[test]
fn what_cannot_be_parsed_is_withdrawn_later() {
    let bench = Bench::new();
    bench.run(&["codex"], &[]).unwrap();
    let ours = bench.text(FILES[0]);
    bench.with(FILES[0], "a = [: {");
    bench.run(&[], &["codex"]).unwrap();
    assert_eq!(bench.text(FILES[0]), "a = [: {");
    bench.with(FILES[0], &ours);
    bench.run(&[], &["codex"]).unwrap();
    assert_eq!(bench.text(FILES[0]), "", "the record was kept for this");
}

#[test]
fn a_table_that_we_made_goes_after_many_launches() {
    let bench = Bench::new();
    for _ in 0..3 {
        bench.run(&["vibe"], &[]).unwrap();
    }
    bench.run(&[], &["vibe"]).unwrap();
    assert_eq!(bench.text(FILES[2]), "");
}

#[test]
fn links_are_refused() {
    let bench = Bench::new();
    bench.with("victim", "x = 1\n");
    bench.with("_codex-config/other.toml", "x = 1\n");
    symlink(bench.file("victim"), bench.file(FILES[0])).unwrap();
    assert!(bench.run(&["codex"], &[]).unwrap_err().to_string().contains("symlink"));
    symlink(bench.0.path(), bench.file("_gh-config")).unwrap();
    assert!(matches!(bench.run(&["gh"], &[]), Err(AgentError::Patch { .. })));
    assert_eq!(bench.text("victim"), "x = 1\n");
    assert!(!Path::new(&bench.file("config.yml")).exists());
}

#[test]
fn paths_that_leave_the_directory_are_refused() {
    for path in ["../x.toml", "/etc/x.toml", ""] {
        let mut bench = Bench::new();
        bench.1.vault_routes["codex"].shared_config_patch.as_mut().unwrap()["file"] = path.into();
        assert!(bench.run(&["codex"], &[]).unwrap_err().to_string().contains("invalid patch file path"), "{path}");
    }
}
