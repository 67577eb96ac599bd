//! The agent's private directory and the shared settings, also against what a container may have planted.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config_dir::{Prepared, Spec, prepare};
use crate::fault::AgentError;
use crate::model::Roster;
use crate::roster::{Strictness, bundled, load};

struct Bench {
    root: tempfile::TempDir,
    roster: Roster,
}

impl Bench {
    fn new() -> Self {
        let roster = load(&bundled(), &[], Strictness::Strict, &mut Vec::new()).unwrap();
        Self { root: tempfile::tempdir().unwrap(), roster }
    }

    fn mount(&self, name: &str) -> PathBuf {
        self.root.path().join("mounts").join(name)
    }

    fn run(&self, fields: Value) -> Result<Prepared, AgentError> {
        let mut spec = json!({
            "tasks_root": self.root.path().join("tasks"), "task_id": "t1", "provider": "claude",
            "mounts_base": self.root.path().join("mounts"),
        });
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        prepare(&serde_json::from_value::<Spec>(spec).unwrap(), &self.roster.providers)
    }

    fn config(&self) -> PathBuf {
        self.root.path().join("tasks/t1/agent-config")
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn files_and_modes() {
    let bench = Bench::new();
    let done = bench.run(json!({"prompt": "p", "subagents": [{"name": "a", "default": true, "prompt": "x"}]})).unwrap();
    assert_eq!(done.path, bench.config());
    assert_eq!(names(&done.path), ["agents.json", "instructions.md", "prompt.txt", "terok-executor.sh"]);
    assert_eq!(fs::metadata(&done.path).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(json_of(&done.path.join("agents.json")), json!({"a": {"prompt": "x"}}));
    assert!(fs::read_to_string(done.path.join("instructions.md")).unwrap().contains("conventions"));
    let opencode = bench.mount("_opencode-config/opencode.json");
    assert_eq!(json_of(&opencode)["instructions"], json!(["/home/dev/.terok/instructions.md"]));
    assert_eq!(fs::metadata(&opencode).unwrap().permissions().mode() & 0o777, 0o600);
    for backend in ["blablador", "kisski", "openrouter"] {
        assert!(bench.mount(&format!("_{backend}-config/opencode/opencode.json")).is_file());
    }
    let wrapper = fs::read_to_string(done.path.join("terok-executor.sh")).unwrap();
    assert!(wrapper.contains("--agents") && !wrapper.contains("--append-system-prompt"));
}

#[test]
fn a_second_call_leaves_nothing_stale_and_keeps_the_rest() {
    let bench = Bench::new();
    bench.run(json!({"prompt": "p", "subagents": [{"name": "a", "default": true}]})).unwrap();
    fs::write(bench.config().join("claude-session.txt"), "s").unwrap();
    let settings = bench.mount("_claude-config/settings.json");
    let before = fs::read(&settings).unwrap();
    let done = bench.run(json!({"instructions": "I", "provider": "codex"})).unwrap();
    assert_eq!(names(&done.path), ["claude-session.txt", "instructions.md", "terok-executor.sh"]);
    assert!(fs::read_to_string(done.path.join("terok-executor.sh")).unwrap().contains("--append-system-prompt"));
    assert_eq!(fs::read(&settings).unwrap(), before);
}

#[test]
fn refusals_come_before_any_write() {
    let bench = Bench::new();
    assert!(matches!(bench.run(json!({"provider": "nope"})), Err(AgentError::UnknownProvider { .. })));
    assert!(matches!(bench.run(json!({"mounts_base": null})), Err(AgentError::NoMountsBase)));
    assert!(matches!(bench.run(json!({"task_id": "../x"})), Err(AgentError::Name(_))));
    assert!(names(bench.root.path()).is_empty());
}

#[test]
fn sub_agents_where_there_are_none() {
    let bench = Bench::new();
    assert_eq!(bench.run(json!({"selected_agents": ["a"]})).unwrap().warnings, Vec::<String>::new());
    assert_eq!(bench.run(json!({"provider": "pi", "selected_agents": ["a"]})).unwrap().warnings.len(), 1);
}

#[test]
fn settings_of_others_survive() {
    let bench = Bench::new();
    fs::create_dir_all(bench.mount("_opencode-config")).unwrap();
    fs::create_dir_all(bench.mount("_claude-config")).unwrap();
    let (opencode, settings) =
        (bench.mount("_opencode-config/opencode.json"), bench.mount("_claude-config/settings.json"));
    fs::write(&opencode, r#"{"theme": "x", "instructions": "mine.md"}"#).unwrap();
    fs::write(&settings, r#"{"hooks": {"SessionStart": {}, "Stop": []}, "model": "m"}"#).unwrap();
    bench.run(json!({})).unwrap();
    assert_eq!(json_of(&opencode)["instructions"], json!(["mine.md", "/home/dev/.terok/instructions.md"]));
    assert_eq!(json_of(&opencode)["theme"], "x");
    let hooks = json_of(&settings);
    assert_eq!((hooks["model"].as_str(), hooks["hooks"]["SessionStart"].as_array().unwrap().len()), (Some("m"), 1));
    assert!(hooks["hooks"]["Stop"].is_array());
    fs::write(&opencode, "{broken").unwrap();
    bench.run(json!({})).unwrap();
    assert!(json_of(&opencode)["instructions"].is_array());
    assert_eq!(fs::read(opencode.with_extension("json.terok-bak")).unwrap(), b"{broken");
}

#[test]
fn many_writers_add_one_hook() {
    let bench = Bench::new();
    std::thread::scope(|scope| {
        for n in 0..48 {
            let bench = &bench;
            scope.spawn(move || bench.run(json!({"task_id": format!("t{n}")})).unwrap());
        }
    });
    let settings = json_of(&bench.mount("_claude-config/settings.json"));
    assert_eq!(settings["hooks"]["SessionStart"].as_array().unwrap().len(), 1);
}

#[test]
fn planted_links_lead_nowhere() {
    let bench = Bench::new();
    bench.run(json!({"prompt": "p"})).unwrap();
    let victim = bench.root.path().join("victim");
    fs::write(&victim, r#"{"secret": 1}"#).unwrap();
    for name in ["prompt.txt", "instructions.md"] {
        fs::remove_file(bench.config().join(name)).unwrap();
        symlink(&victim, bench.config().join(name)).unwrap();
    }
    let settings = bench.mount("_claude-config/settings.json");
    fs::remove_file(&settings).unwrap();
    symlink(&victim, &settings).unwrap();
    bench.run(json!({"prompt": "q"})).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), r#"{"secret": 1}"#);
    assert!(!fs::read_to_string(&settings).unwrap().contains("secret"));
    assert_eq!(fs::read_to_string(bench.config().join("prompt.txt")).unwrap(), "q");
    fs::remove_dir_all(bench.mount("_kisski-config")).unwrap();
    symlink(bench.root.path(), bench.mount("_kisski-config")).unwrap();
    assert!(matches!(bench.run(json!({})), Err(AgentError::SharedMount { .. })));
}
