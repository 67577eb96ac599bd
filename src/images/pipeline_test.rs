//! Builds against a podman that only writes down how it was called (a shell script, so the process border is real).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base::fault::{Fault, Kind};
use podman::Podman;

use crate::bundled_test::catalog;
use crate::pipeline::{self, BaseRequest};
use crate::runner::Output;
use crate::{ImageError, ImageSet, Selection, argv, ca, runner, sidecar};

/// A podman in a folder of its own that knows some images; a line of shell says what a build does.
struct Fake {
    folder: tempfile::TempDir,
}

impl Fake {
    fn new(images: &[&str], build: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let known = images.join("|");
        let script = format!(
            "#!/bin/sh\necho \"$*\" >> {log}\ncase \"$1 $2\" in\n'image exists') case \" $* \" in {pattern}) exit 0;; esac; exit 1;;\n\
             'image inspect') cat {folder}/labels 2>/dev/null;;\n\
             'inspect --type') printf '[{{\"Id\":\"%064d\"}}]' 7;;\n\
             'run --rm') echo 3 13;;\nbuild*) {build};;\nesac\n",
            log = log.display(),
            folder = folder.path().display(),
            pattern = if known.is_empty() { "none".into() } else { format!("*' {} '*", known.replace('|', " '*|*' ")) },
        );
        fs::write(folder.path().join("podman"), script).unwrap();
        fs::set_permissions(folder.path().join("podman"), fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn podman(&self) -> Podman {
        Podman::at(self.folder.path().join("podman"))
    }

    fn calls(&self, verb: &str) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.lines().filter(|l| l.starts_with(verb)).map(str::to_owned).collect()
    }

    fn build(&self, request: &BaseRequest) -> (Result<ImageSet, ImageError>, String) {
        let mut text = Vec::new();
        let result = pipeline::build_base(&self.podman(), request, &catalog(), &mut Output::to(&mut text));
        (result, String::from_utf8(text).unwrap())
    }
}

fn request(base: &str, agents: &str) -> BaseRequest {
    BaseRequest {
        base_image: base.into(),
        agents: Selection::parse(agents),
        trust_host_ca: ca::Trust::Never,
        ..BaseRequest::default()
    }
}

#[test]
fn images_that_are_there_are_left_alone_even_on_an_unknown_base() {
    let fake = Fake::new(&["terok-l0:rockylinux-9", "terok-l1-cli:rockylinux-9-claude"], "exit 9");
    let (images, _) = fake.build(&request("rockylinux:9", "claude"));
    assert_eq!(images.unwrap().l1, "terok-l1-cli:rockylinux-9-claude");
    assert!(fake.calls("build").is_empty() && fake.calls("tag").is_empty());
    let (_, _) = fake.build(&BaseRequest { tag_as_default: true, ..request("rockylinux:9", "claude") });
    assert_eq!(fake.calls("tag"), ["tag terok-l1-cli:rockylinux-9-claude terok-l1-cli:rockylinux-9"]);
}

#[test]
fn images_of_another_recipe_are_built_anew_and_foreign_ones_are_not() {
    let fake = Fake::new(&["terok-l0:debian-13", "terok-l1-cli:debian-13-claude"], "exit 0");
    for (labels, builds) in [("{}", 0), ("null", 0), (r#"{"ai.terok.recipe": "of old"}"#, 2)] {
        fs::write(fake.folder.path().join("labels"), labels).unwrap();
        fake.build(&request("debian:13", "claude")).0.unwrap();
        assert_eq!(fake.calls("build").len(), builds, "{labels}");
    }
    let now = fake.calls("build")[0].split("ai.terok.recipe=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    fs::write(fake.folder.path().join("labels"), format!(r#"{{"ai.terok.recipe": "{now}"}}"#)).unwrap();
    fake.build(&request("debian:13", "claude")).0.unwrap();
    assert_eq!(fake.calls("build").len(), 4, "the agent layer's recipe is another one than the shared layer's");
}

#[test]
fn a_first_build_makes_both_layers() {
    let fake = Fake::new(&[], "exit 0");
    let (images, text) = fake.build(&BaseRequest { tag_as_default: true, ..request("debian:13", "claude") });
    images.unwrap();
    let builds = fake.calls("build");
    assert_eq!(builds.len(), 2);
    assert!(builds[0].contains("--network=private --build-arg BASE_IMAGE=debian:13 --label ai.terok.recipe="));
    assert!(builds[0].contains(" -t terok-l0:debian-13 /"));
    assert!(builds[1].contains("--build-arg BASE_IMAGE=terok-l0:debian-13 --build-arg AGENT_CACHE_BUST=0 --label"));
    assert!(builds[1].contains(" -t terok-l1-cli:debian-13-claude -t terok-l1-cli:debian-13 /"));
    assert!(!builds.concat().contains("--no-cache") && !builds.concat().contains("--pull"));
    assert_eq!(text.lines().filter(|l| l.starts_with("$ podman build -f ")).count(), 2);
    let context = builds[1].rsplit(' ').next().unwrap();
    assert!(!Path::new(context).exists(), "a temporary context stays behind");
}

#[test]
fn a_refresh_repeats_the_agents_and_a_full_one_everything() {
    let there = ["terok-l0:debian-13", "terok-l1-cli:debian-13-claude"];
    let fake = Fake::new(&there, "exit 0");
    fake.build(&BaseRequest { rebuild: true, ..request("debian:13", "claude") }).0.unwrap();
    let builds = fake.calls("build");
    assert!(builds.len() == 2 && !builds.concat().contains("--no-cache"));
    assert!(!builds[1].contains("AGENT_CACHE_BUST=0 "));
    let fake = Fake::new(&there, "exit 0");
    fake.build(&BaseRequest { full_rebuild: true, ..request("debian:13", "claude") }).0.unwrap();
    let builds = fake.calls("build");
    assert!(builds[0].contains("--no-cache --pull=always /"));
    assert!(builds[1].contains("--no-cache /") && !builds[1].contains("--pull"));
    let fake = Fake::new(&[], "exit 0");
    fake.build(&BaseRequest { full_rebuild: true, ..request("localhost/x/debian:13", "claude") }).0.unwrap_err();
    let own = BaseRequest { full_rebuild: true, ..request("localhost/terok-base:debian-13", "claude") };
    fake.build(&own).0.unwrap();
    assert!(!fake.calls("build")[0].contains("--pull"), "our own base is in no registry");
}

#[test]
fn a_given_context_is_kept_and_must_be_empty() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::new(&[], "exit 0");
    let into = |path: PathBuf| BaseRequest { build_dir: Some(path), ..request("debian:13", "blablador") };
    let context = folder.path().join("new");
    fake.build(&into(context.clone())).0.unwrap();
    for name in ["L0.Dockerfile", "L1.cli.Dockerfile", "scripts/hilfe", "tmux/container-tmux.conf", "help.d/agents.txt"]
    {
        assert!(context.join(name).is_file(), "{name}");
    }
    let fault = fake.build(&into(context)).0.unwrap_err();
    assert_eq!((fault.kind(), fault.code()), (Kind::Value, "build-dir"));
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(fake.build(&into(file)).0.unwrap_err().kind(), Kind::Value);
}

#[test]
fn bad_requests_reach_no_build() {
    let fake = Fake::new(&[], "exit 0");
    for (request, code) in [
        (request("ubuntu:24.04\nRUN x", "claude"), "base-invalid"),
        (request("rockylinux:9", "claude"), "family-unknown"),
        (request("debian:13", "nix"), "entry-unknown"),
        (BaseRequest { family: Some("alpine".into()), ..request("debian:13", "claude") }, "family-invalid"),
        (
            BaseRequest { versions: vec![("nix".into(), "1".into())], ..request("debian:13", "claude") },
            "version-unknown",
        ),
        (
            BaseRequest { versions: vec![("claude-code".into(), "1;x".into())], ..request("debian:13", "claude") },
            "version-invalid",
        ),
    ] {
        assert_eq!(fake.build(&request).0.unwrap_err().code(), code);
    }
    assert!(fake.calls("build").is_empty());
    let missing = Podman::at("/nonexistent/podman");
    let mut text = Vec::new();
    let result = pipeline::build_base(&missing, &request("", "claude"), &catalog(), &mut Output::to(&mut text));
    let fault = result.unwrap_err();
    assert!(fault.to_string().contains("podman not found") && fault.hint().is_some());
}

#[test]
fn another_version_reaches_the_build() {
    let fake = Fake::new(&[], "exit 0");
    let versions = vec![("claude-code".to_owned(), "2.1.300".to_owned())];
    fake.build(&BaseRequest { versions, ..request("debian:13", "claude") }).0.unwrap();
    assert!(fake.calls("build")[1].contains("--build-arg CLAUDE_CODE_VERSION=2.1.300 "));
}

#[test]
fn an_old_python_drops_what_was_not_asked_for_by_name() {
    let fake = Fake::new(&[], "cp $(echo $* | sed 's/.* //')/L1.cli.Dockerfile $0.l1 2>/dev/null; exit 0");
    let (images, text) = fake.build(&request("debian:13", "all"));
    assert!(images.unwrap().l1.contains("-toad-"));
    assert!(text.contains("warning: `toad` needs Python 3.14"), "{text}");
    let recipe = fs::read_to_string(fake.folder.path().join("podman.l1")).unwrap();
    assert!(!recipe.contains("batrachian") && !recipe.contains("sonar,toad,vibe\"") && recipe.contains("sonar,vibe\""));
    let fault = fake.build(&request("debian:13", "toad")).0.unwrap_err();
    assert_eq!(fault.code(), "python-too-old");
    assert!(fault.hint().unwrap().contains("-toad"));
}

#[test]
fn a_failed_build_is_explained() {
    let cases = [
        ("write /x: no space left on device", "no-space"),
        ("npm error code ENOSPC", "no-space"),
        ("Error: creating build container: short-name \"nix:1\" did not resolve to an alias", "registry-unreachable"),
        ("Error: initializing source docker://nix:1: pinging container registry nix", "registry-unreachable"),
        ("npm error code ENOTFOUND", "network"),
        ("E: Temporary failure resolving 'deb'", "network"),
        ("SSL: CERTIFICATE_VERIFY_FAILED: certificate verify failed: self-signed certificate", "network"),
        ("something else", "build-failed"),
    ];
    for (line, code) in cases {
        let fake = Fake::new(&[], &format!("echo \"{}\" >&2; exit 125", line.replace('"', "'")));
        let (result, text) = fake.build(&request("debian:13", "claude"));
        let fault = result.unwrap_err();
        assert_eq!(fault.code(), code, "{line}");
        assert!(fault.to_string().contains("Image build failed") && fault.to_string().contains("terok-l0:debian-13"));
        assert!(text.contains(&line.replace('"', "'")), "the output is passed on");
        assert_eq!(fault.kind(), Kind::Build);
    }
}

#[test]
fn the_reason_at_the_end_of_a_long_line_is_told() {
    let step = "do a lot; ".repeat(100);
    let fake =
        Fake::new(&[], &format!("echo 'Error: committing container for step {{{step}}}: the reason' >&2; exit 1"));
    let told = fake.build(&request("debian:13", "claude")).0.unwrap_err().to_string();
    assert!(told.contains("Error: committing container for step {do a lot") && told.ends_with("lot; }: the reason"));
    assert!(told.len() < 600, "{told}");
}

/// Sees what is written piece by piece.
struct Pieces(usize);

impl std::io::Write for Pieces {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        self.0 += std::str::from_utf8(piece).expect("whole characters").len();
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_is_printed_comes_in_whole_characters() {
    let fake = Fake::new(&[], "yes 'a\u{2501}\u{1f433}\u{e9}' | head -n 20000; exit 0");
    let mut pieces = Pieces(0);
    let build = argv::Build { tag: "x:1".into(), ..argv::Build::default() };
    runner::build(&fake.podman(), &build, &mut Output::to(&mut pieces)).unwrap();
    assert!(pieces.0 > 200_000);
}

#[test]
fn the_argument_list_has_a_fixed_order() {
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    let build = argv::Build {
        dockerfile: "/c/L2.Dockerfile".into(),
        context: "/c".into(),
        tag: "p:l2-cli".into(),
        extra_tags: vec!["a:1".into(), "b:2".into()],
        build_args: vec![pair("BASE_IMAGE", "x"), pair("Y", "1 2")],
        labels: vec![pair("k", "v")],
        no_cache: true,
        pull_always: true,
    };
    let expected = "build -f /c/L2.Dockerfile --pid=private --ipc=private --uts=private --cgroupns=private \
                    --network=private --build-arg BASE_IMAGE=x --build-arg|Y=1 2|--label k=v -t p:l2-cli -t a:1 \
                    -t b:2 --no-cache --pull=always /c";
    let expected: Vec<&str> =
        expected.split('|').flat_map(|p| if p.contains("Y=") { vec![p] } else { p.split(' ').collect() }).collect();
    assert_eq!(build.argv(), expected);
}

#[test]
fn a_build_can_be_given_up() {
    let fake = Fake::new(&[], "exec sleep 60");
    let mut text = Vec::new();
    let watch = || true;
    let mut output = Output { writer: &mut text, inherit: false, watch: Some(&watch) };
    let build = argv::Build { tag: "x:1".into(), ..argv::Build::default() };
    let started = std::time::Instant::now();
    let fault = runner::build(&fake.podman(), &build, &mut output).unwrap_err();
    assert_eq!(fault.code(), "interrupted");
    assert!(started.elapsed().as_secs() < 20);
}

/// A stand-in for the program that runs a step for podman: asked too early, it goes on.
const RUNNER: &str = r#"
trap 'echo >> "$0.asked"; [ "$(wc -l < "$0.asked")" -lt 2 ] || exit 0' TERM
echo > "$0.ready"
while :; do sleep 0.05; done
"#;

#[test]
fn a_build_that_is_given_up_ends_its_step_first_and_may_clean_up() {
    let step = r#"bash -c 'exec -a buildah-oci-runtime bash "$0"' "$0.runner"; echo > "$0.cleaned"; exit 1"#;
    let fake = Fake::new(&[], step);
    let beside = |name: &str| fake.folder.path().join(name);
    fs::write(beside("podman.runner"), RUNNER).unwrap();
    let mut text = Vec::new();
    let watch = || beside("podman.runner.ready").exists();
    let mut output = Output { writer: &mut text, inherit: false, watch: Some(&watch) };
    let build = argv::Build { tag: "x:1".into(), ..argv::Build::default() };
    let fault = runner::build(&fake.podman(), &build, &mut output).unwrap_err();
    assert_eq!(fault.code(), "interrupted");
    assert!(beside("podman.cleaned").exists());
    assert_eq!(fs::read_to_string(beside("podman.runner.asked")).unwrap().lines().count(), 2);
}

#[test]
fn a_sidecar_needs_its_program_and_no_agents() {
    let fake = Fake::new(&[], "exit 0");
    let build = |request: &sidecar::Request| sidecar::build(&fake.podman(), request, &mut Output::to(&mut Vec::new()));
    let mut request =
        sidecar::Request { base_image: "debian:13".into(), tool: "coderabbit".into(), ..Default::default() };
    assert_eq!(build(&request).unwrap_err().code(), "tool-unsupported");
    request.program = Some("/bin/sh".into());
    request.trust_host_ca = ca::Trust::Never;
    assert_eq!(build(&request).unwrap(), "terok-l1-sidecar:debian-13");
    let builds = fake.calls("build");
    assert_eq!(builds.len(), 2, "the shared layer and the tool, no agents: {builds:?}");
    assert!(builds[1].contains("L1.sidecar.Dockerfile") && builds[1].contains("TOOL_CACHE_BUST="));
}

#[test]
fn only_additional_certificates_are_taken_and_no_keys() {
    let folder = tempfile::tempdir().unwrap();
    let pem = |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    let (anchors, stock) = (folder.path().join("anchors"), folder.path().join("stock/mozilla"));
    fs::create_dir_all(&anchors).unwrap();
    fs::create_dir_all(&stock).unwrap();
    fs::write(stock.join("a.crt"), pem("STOCK")).unwrap();
    let key = "-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n";
    fs::write(anchors.join("proxy.crt"), format!("{key}{}{}", pem("PROXY"), pem("STOCK"))).unwrap();
    fs::write(anchors.join("notes.txt"), pem("IGNORED")).unwrap();
    let bundle = folder.path().join("bundle.pem");
    fs::write(&bundle, format!("{}{}{}", pem("STOCK"), pem("PROXY"), pem("OWN"))).unwrap();
    let mut places = ca::Places { anchors: vec![anchors], bundles: vec![bundle], stock: folder.path().join("stock") };
    let found = ca::additional(ca::Trust::Auto, &places);
    let text: String = found.iter().map(|c| c.pem.clone()).collect();
    assert!(found.len() == 2 && text.contains("PROXY") && text.contains("OWN") && !text.contains("SECRET"));
    assert!(ca::additional(ca::Trust::Never, &places).is_empty());
    places.stock = folder.path().join("nothing");
    assert_eq!(ca::additional(ca::Trust::Auto, &places).len(), 2, "an unknown stock: anchors only");
    assert!(ca::additional(ca::Trust::Always, &places).len() > 2, "and with everything that was named on request");
}
