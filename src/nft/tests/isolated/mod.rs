//! Runs a test in a user and network namespace of its own, by starting this very test again inside one.
//!
//! Inside, the process is root of the namespaces and nothing more, like the hook of a rootless container.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const INSIDE: &str = "TEROK_TEST_ISOLATED";

/// Runs `body` inside; `name` is the full name of the calling test.
pub fn isolated(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        run("ip", &["link", "set", "lo", "up"]);
        return body();
    }
    let exe = std::env::current_exe().expect("a test has an executable");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "--"])
        .arg(exe)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "inside the namespace:\n{text}");
    assert!(text.contains("1 passed"), "the test `{name}` was not found:\n{text}");
    // What a test reports, such as a figure, goes on to the reader.
    for line in text.lines().filter(|line| line.starts_with("figure:")) {
        figure(line.trim_start_matches("figure: "));
    }
}

/// Reports a figure, also out of the namespace.
#[allow(dead_code, clippy::print_stderr)]
pub fn figure(text: &str) {
    eprintln!("figure: {text}");
}

/// Runs a program and returns its standard output; its failure is the test's.
#[allow(dead_code)]
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    finish(program, arguments, &output)
}

/// Gives `input` to the nft program.
#[allow(dead_code)]
pub fn nft(input: &str) -> String {
    let mut child = Command::new(program("nft"))
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nft runs");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    finish("nft", &[input], &child.wait_with_output().unwrap())
}

/// Lists the ruleset as JSON.
#[allow(dead_code)]
pub fn nft_json() -> serde_json::Value {
    let text = run(&program("nft"), &["-j", "list", "ruleset"]);
    serde_json::from_str(&text).expect("nft prints JSON")
}

fn finish(program: &str, arguments: &[&str], output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn program(name: &str) -> String {
    let places = ["/usr/sbin", "/sbin", "/usr/bin"].map(|place| format!("{place}/{name}"));
    places.into_iter().find(|path| Path::new(path).exists()).unwrap_or_else(|| name.to_owned())
}
