//! Tells Cargo which folders of the Python packages are compiled into this room.

fn main() {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../../python");
    for folder in [
        "terok/resources/templates",
        "terok_executor/resources/locks",
        "terok_executor/resources/scripts",
        "terok_executor/resources/templates",
        "terok_executor/resources/tmux",
        "terok_executor/resources/toad-agents",
        "terok_sandbox/resources/bridges",
    ] {
        println!("cargo:rerun-if-changed={python}/{folder}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
