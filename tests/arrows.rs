//! Guards the arrows between rooms, as ARCHITECTURE.md draws them, over what Cargo resolves.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Which rooms a room uses, and whether it has a runtime (tokio). Exact: an arrow nobody walks is taken out.
const ARROWS: &[(&str, &[&str], bool)] = &[
    ("terok-agents", &["terok-base", "terok-home", "terok-wire"], false),
    ("terok-base", &[], false),
    ("terok-broker", &["terok-base", "terok-server", "terok-vault", "terok-wire"], true),
    ("terok-egress", &["terok-base", "terok-nft", "terok-shield"], true),
    ("terok-gate", &["terok-base", "terok-mirror", "terok-server"], true),
    ("terok-home", &["terok-base"], false),
    ("terok-images", &["terok-base", "terok-podman"], false),
    ("terok-mirror", &["terok-base"], false),
    ("terok-nft", &["terok-base"], false),
    ("terok-podman", &["terok-base"], false),
    ("terok-project", &["terok-base"], false),
    ("terok-sandbox-room", &["terok-base", "terok-podman", "terok-wire"], false),
    ("terok-server", &["terok-base"], true),
    ("terok-shield", &["terok-base", "terok-nft"], false),
    ("terok-signer", &["terok-base", "terok-server", "terok-vault"], true),
    (
        "terok-supervisor-room",
        &[
            "terok-base",
            "terok-broker",
            "terok-egress",
            "terok-gate",
            "terok-home",
            "terok-nft",
            "terok-server",
            "terok-shield",
            "terok-signer",
            "terok-vault",
            "terok-wire",
        ],
        true,
    ),
    ("terok-task", &["terok-base"], false),
    ("terok-vault", &["terok-base"], true),
    ("terok-wire", &["terok-base"], false),
    ("terok-workspace", &["terok-base", "terok-mirror"], false),
];

fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages.iter().map(|p| (p["name"].as_str().unwrap_or_default().to_owned(), normal_dependencies(p))).collect()
}

fn normal_dependencies(package: &Value) -> Vec<String> {
    let all = package["dependencies"].as_array().expect("dependencies");
    all.iter().filter(|d| d["kind"].is_null()).filter_map(|d| d["name"].as_str().map(str::to_owned)).collect()
}

#[test]
fn rooms_use_whom_the_table_names() {
    let found = dependencies();
    for (room, expected, runtime) in ARROWS {
        let uses = found.get(*room).unwrap_or_else(|| panic!("room `{room}` exists"));
        let mut ours: Vec<_> = uses.iter().filter(|d| d.starts_with("terok-")).map(String::as_str).collect();
        ours.sort_unstable();
        assert_eq!(&ours, expected, "arrows of `{room}`");
        assert_eq!(uses.iter().any(|d| d == "tokio"), *runtime, "tokio in `{room}`");
        assert!(!uses.iter().any(|d| d.contains("pyo3")), "`{room}` may not use pyo3");
    }
}

#[test]
fn every_room_has_its_arrows_drawn_and_nobody_uses_the_bindings() {
    let found = dependencies();
    for (package, uses) in &found {
        let known = ARROWS.iter().any(|(room, ..)| room == package);
        assert!(
            known || matches!(package.as_str(), "terok" | "terok-py"),
            "`{package}` has no row in the table of arrows"
        );
        assert!(!uses.iter().any(|d| d == "terok-py"), "`{package}` may not use the bindings");
    }
}
