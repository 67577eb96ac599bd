//! The generated shell functions under a real bash, with stand-ins for the agents.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::roster::{Strictness, bundled, load};
use crate::wrapper;

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    /// A home, a configuration directory and stand-ins that print their arguments, one per line.
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        for name in ["bin", "cfg", "home"] {
            std::fs::create_dir(bench.path(name)).unwrap();
        }
        for agent in ["claude", "codex", "copilot", "opencode", "kisski", "pi", "vibe"] {
            bench.program(agent, "printf '<%s>' \"$@\"; exit \"${STATUS:-0}\"");
        }
        let roster = load(&bundled(), &[], Strictness::Strict, &mut Vec::new()).unwrap();
        let text = wrapper::all(&roster.providers, true, true).unwrap();
        let text = text.replace("/home/dev/.terok", bench.path("cfg").to_str().unwrap());
        std::fs::write(bench.path("w.sh"), text).unwrap();
        bench
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        std::fs::write(&path, format!("#!/bin/bash\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.path("cfg").join(name), text).unwrap();
    }

    fn bash(&self, script: &str, env: &[(&str, &str)]) -> Output {
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        Command::new("bash")
            .args(["-c", &format!(". {}; {script}", self.path("w.sh").display())])
            .env_clear()
            .envs([("PATH", path.as_str()), ("HOME", self.path("home").to_str().unwrap())])
            .envs(env.iter().copied())
            .output()
            .unwrap()
    }

    fn says(&self, script: &str, env: &[(&str, &str)]) -> String {
        let output = self.bash(script, env);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn exists(&self, name: &str) -> bool {
        Path::new(&self.path("cfg").join(name)).exists()
    }
}

#[test]
fn sourcing_is_silent_and_the_text_is_sound() {
    let bench = Bench::new();
    let file = bench.path("w.sh");
    let output = bench.bash("true", &[]);
    assert!(output.stdout.is_empty() && output.stderr.is_empty() && output.status.success());
    assert!(Command::new("bash").arg("-n").arg(&file).status().unwrap().success());
    if let Ok(checked) = Command::new("shellcheck").args(["-s", "bash"]).arg(&file).output() {
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    }
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains("login|logout)") && text.contains("setup-token)"));
}

#[test]
fn logging_in_is_refused_also_behind_a_timeout() {
    let bench = Bench::new();
    for call in ["codex login", "codex --terok-timeout 5 logout", "claude setup-token"] {
        let output = bench.bash(call, &[]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), text.lines().count()), (Some(1), 2), "{call}: {text}");
        assert!(text.contains("terok auth c"), "{text}");
    }
    assert_eq!(bench.bash("claude --terok-timeout x -p y", &[]).status.code(), Some(2));
}

#[test]
fn arguments_of_each_agent() {
    let bench = Bench::new();
    let unrestricted = [("TEROK_UNRESTRICTED", "1")];
    assert_eq!(
        bench.says("codex --terok-timeout 9 exec 'a b'", &unrestricted),
        "<--yolo><-c><analytics.enabled=false><exec><a b>"
    );
    assert_eq!(bench.says("codex exec x", &[("TEROK_UNRESTRICTED", "yes")]), "<exec><x>");
    bench.file("instructions.md", "I\n");
    let guide = format!("<-c><model_instructions_file=\"{}/instructions.md\">", bench.path("cfg").display());
    assert_eq!(bench.says("codex exec x", &[]), format!("{guide}<exec><x>"));
    assert_eq!(bench.says("claude -p x", &[]), "<--add-dir></><--append-system-prompt><I><-p><x>");
    bench.file("agents.json", "{}");
    bench.file("claude-session.txt", "s1\n");
    assert_eq!(
        bench.says("claude --terok-timeout 5 -p x", &[]),
        "<--add-dir></><--agents><{}><--append-system-prompt><I><--resume><s1><-p><x>"
    );
    assert_eq!(bench.says("opencode run x", &[]), "<run><x>");
}

#[test]
fn status_and_time_limit() {
    let bench = Bench::new();
    assert_eq!(bench.bash("codex --terok-timeout 5 exec x", &[("STATUS", "7")]).status.code(), Some(7));
    assert_eq!(bench.bash("vibe --terok-timeout 5 --prompt x", &[("STATUS", "7")]).status.code(), Some(7));
    bench.program("pi", "sleep 20");
    assert_eq!(bench.bash("pi --terok-timeout 1 x", &[]).status.code(), Some(124));
}

#[test]
fn a_stale_session_is_given_up_once() {
    let bench = Bench::new();
    bench.program("opencode", "printf '<%s>' \"$@\"; [[ $* != *--session* ]]");
    bench.file("opencode-session.txt", "old\n");
    let output = bench.bash("opencode --terok-timeout 5 run --session mine x", &[]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "<--session><old><run><--session><mine><x><run><--session><mine><x>"
    );
    assert!(!bench.exists("opencode-session.txt"));
    bench.file("opencode-session.txt", "kept\n");
    assert_eq!(bench.bash("opencode run --session mine", &[]).status.code(), Some(1));
    assert!(bench.exists("opencode-session.txt"), "the caller's own failure deletes nothing");
}

#[test]
fn the_initial_prompt_is_taken_up_once() {
    for (agent, expected) in
        [("opencode", "<run><do it>"), ("copilot", "<-p><do it>"), ("pi", "<do it>"), ("kisski", "<run><do it>")]
    {
        let bench = Bench::new();
        bench.file("initial-prompt.txt", "do it\n");
        assert_eq!(bench.says(&format!("{agent} x"), &[]), "<x>", "{agent}");
        assert_eq!(bench.says(agent, &[]), expected);
        assert!(!bench.exists("initial-prompt.txt") && bench.exists("initial-prompt.consumed.txt"));
        assert_ne!(bench.says(agent, &[]), expected);
    }
}

#[test]
fn a_prompt_is_never_taken_for_an_option() {
    let bench = Bench::new();
    bench.file("prompt.txt", "- fix\n");
    let call = format!("codex --terok-timeout 5 exec \"$(cat {})\"", bench.path("cfg").join("prompt.txt").display());
    assert_eq!(bench.says(&call, &[]), "<-c><analytics.enabled=false><exec><\n- fix>");
}

#[test]
fn vibe_records_its_own_session_only() {
    let bench = Bench::new();
    bench.program(
        "vibe",
        r#"for s in a:/elsewhere b:$PWD; do d=$HOME/.vibe/logs/session/session_${s%%:*}; mkdir -p "$d"
printf '{"session_id": "%s", "environment": {"working_directory": "%s"}}' "${s%%:*}" "${s#*:}" > "$d/meta.json"; done"#,
    );
    assert!(bench.bash("vibe --terok-timeout 5 --prompt x", &[]).status.success());
    assert_eq!(std::fs::read_to_string(bench.path("cfg").join("vibe-session.txt")).unwrap(), "b\n");
}

#[test]
fn permission_bypass_follows_the_mode() {
    let bench = Bench::new();
    bench.program("vibe", "printf '%s' \"${VIBE_BYPASS_TOOL_PERMISSIONS-unset}\"");
    assert_eq!(bench.says("vibe x", &[]), "unset");
    assert_eq!(bench.says("vibe x", &[("TEROK_UNRESTRICTED", "1")]), "true");
}
