//! Which duty an executable has, read from its arguments.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use base::fault::Fault;

use crate::container::Init;
use crate::daemon::{self, Order};
use crate::diary;
use crate::fault::SupervisorError;
use crate::hook;
use crate::sidecarfile::SidecarFile;
use crate::spawn;

const USAGE: &str = "\
usage: terok-supervisor supervisor CONTAINER_ID SIDECAR   supervise a running container by hand
       terok-supervisor shield VERB ...                    look at or change a container's firewall
       terok-supervisor --version | --help

Containers get their supervisor from the OCI hook; see `terok-executor setup`.
";

/// What the daemon's executable can do.
#[derive(Debug, PartialEq)]
enum Duty {
    Daemon(Order),
    ByHand(Order),
    Version,
    Help,
}

/// Entry of the hook's executable: does what must be quick, and leaves the rest to the daemon's beside it.
pub fn front(argv: Vec<OsString>) -> ExitCode {
    let words: Vec<_> = argv.iter().map(|word| word.to_string_lossy()).collect();
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    let name = words.first().and_then(|word| word.rsplit('/').next());
    let code = match (name, words.get(1..).unwrap_or_default()) {
        (Some("supervisor_hook"), rest) => hook::run(rest.first().unwrap_or(&"createRuntime"), &executable()),
        (_, ["--version" | "-V"]) => version(),
        (_, ["shield", rest @ ..]) => crate::shieldverb::run(rest),
        _ => complain(&pass_on(&argv)),
    };
    ExitCode::from(code)
}

/// Becomes the daemon's executable, with the same arguments; returns only on failure.
fn pass_on(argv: &[OsString]) -> SupervisorError {
    let program = spawn::daemon_beside(&executable());
    let mut command = Command::new(&program);
    command.args(argv.iter().skip(1));
    if let Some(name) = argv.first() {
        command.arg0(name);
    }
    let source = command.exec();
    SupervisorError::Program { path: program, source }
}

/// Entry of the daemon's executable: picks the duty from `argv` and runs it to the end.
pub fn main(argv: Vec<OsString>) -> ExitCode {
    let arguments: Vec<String> = argv.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let code = match understand(&arguments) {
        Ok(Duty::Daemon(order)) => daemon::run(&order),
        Ok(Duty::ByHand(order)) => complain(&by_hand(&order)),
        Ok(Duty::Version) => version(),
        Ok(Duty::Help) => write_out(USAGE),
        Err(error) => complain(&error),
    };
    ExitCode::from(code)
}

fn understand(arguments: &[String]) -> Result<Duty, SupervisorError> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let name = words.first().and_then(|w| w.rsplit('/').next()).unwrap_or_default();
    match (name, words.get(1..).unwrap_or_default()) {
        (base::pid::SUPERVISOR_IDENTITY, rest) => order(rest).map(Duty::Daemon),
        (_, ["supervisor", rest @ ..]) => order(rest).map(Duty::ByHand),
        (_, ["--version" | "-V"]) => Ok(Duty::Version),
        (_, ["--help" | "-h"]) => Ok(Duty::Help),
        (_, []) => Err(SupervisorError::Usage("none were given".into())),
        (_, [word, ..]) => Err(SupervisorError::Usage(format!("`{word}` is not known"))),
    }
}

fn order(words: &[&str]) -> Result<Order, SupervisorError> {
    let (container, sidecar, init) = match words {
        [container, sidecar] => (container, sidecar, None),
        [container, sidecar, init] => {
            let init = Init::parse(init)
                .ok_or_else(|| SupervisorError::Usage(format!("`{init}` is not a process and its start time")))?;
            (container, sidecar, Some(init))
        }
        _ => return Err(SupervisorError::Usage("a container id and a sidecar are needed".into())),
    };
    base::ident::check_segment("container id", container).map_err(|e| SupervisorError::Usage(e.to_string()))?;
    Ok(Order { container: (*container).to_owned(), sidecar: (*sidecar).to_owned(), init })
}

/// Becomes a daemon whose arguments prove what it is, with the terminal still attached; returns only on failure.
fn by_hand(order: &Order) -> SupervisorError {
    let file = match SidecarFile::locate(&order.sidecar) {
        Ok(file) => file,
        Err(error) => return error,
    };
    let mut command = Command::new("/proc/self/exe");
    command.arg0(daemon::identity(&executable(), &file.root));
    command.args([&order.container, &order.sidecar]);
    command.args(order.init.map(|init| init.to_string()));
    SupervisorError::Spawn(command.exec())
}

fn executable() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| Path::new("/").to_owned())
}

fn complain(error: &SupervisorError) -> u8 {
    diary::say("ERROR", "supervisor", &error.one_line());
    error.exit_code()
}

fn version() -> u8 {
    write_out(&format!("terok-supervisor {}\n", env!("CARGO_PKG_VERSION")))
}

fn write_out(text: &str) -> u8 {
    u8::from(std::io::stdout().write_all(text.as_bytes()).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duty(line: &str) -> Result<Duty, SupervisorError> {
        understand(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn duties() {
        assert_eq!(duty("terok-supervisor --version").unwrap(), Duty::Version);
        let order = Order { container: "c".into(), sidecar: "/s".into(), init: None };
        assert_eq!(duty("x supervisor c /s").unwrap(), Duty::ByHand(order.clone()));
        assert_eq!(duty("/st/supervisor_wrapper.py c /s").unwrap(), Duty::Daemon(order.clone()));
        let init = Some(Init { pid: 5, start: 9 });
        let known = Order { init, ..order };
        assert_eq!(duty("/st/supervisor_wrapper.py c /s 5:9").unwrap(), Duty::Daemon(known));
        for bad in ["x", "x y", "x supervisor c", "x supervisor .. /s", "/supervisor_wrapper.py c /s 5"] {
            assert_eq!(duty(bad).unwrap_err().exit_code(), 2, "{bad}");
        }
    }
}
