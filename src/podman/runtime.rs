//! What a container back end must be able to do, the podman driver, and a null driver that keeps containers in memory.
//!
//! The trait covers what other rooms ask of containers they did not just launch; launching is always podman's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use base::process::Output;

use crate::call::{Podman, Watch};
use crate::container::Removal;
use crate::fault::PodmanError;

/// A container back end.
pub trait Runtime: Send + Sync {
    /// Lower-case status; `None` when there is no such container.
    fn state(&self, name: &str) -> Option<String>;
    /// Starts a container that exists.
    ///
    /// # Errors
    /// [`PodmanError`].
    fn start(&self, name: &str) -> Result<(), PodmanError>;
    /// Stops a container within `seconds`, then kills it.
    ///
    /// # Errors
    /// [`PodmanError`].
    fn stop(&self, name: &str, seconds: u32) -> Result<(), PodmanError>;
    /// Exit status of the container, once it has ended.
    ///
    /// # Errors
    /// [`PodmanError`], [`PodmanError::TimedOut`] after `limit`.
    fn wait(&self, name: &str, limit: Option<Duration>, watch: Option<Watch<'_>>) -> Result<i32, PodmanError>;
    /// Copies a file, or the content of a directory, into the container.
    ///
    /// # Errors
    /// [`PodmanError`].
    fn copy_in(&self, name: &str, source: &Path, target: &str) -> Result<(), PodmanError>;
    /// Runs a program in the container.
    ///
    /// # Errors
    /// [`PodmanError`]; a non-zero status is a result.
    fn exec(&self, name: &str, command: &[String], limit: Option<Duration>) -> Result<Output, PodmanError>;
    /// Kills and removes containers.
    fn force_remove(&self, names: &[String]) -> Vec<Removal>;
    /// Names that begin with `prefix` and a dash.
    fn names_with_prefix(&self, prefix: &str) -> Vec<String>;
}

impl Runtime for Podman {
    fn state(&self, name: &str) -> Option<String> {
        Podman::state(self, name)
    }
    fn start(&self, name: &str) -> Result<(), PodmanError> {
        Podman::start(self, name)
    }
    fn stop(&self, name: &str, seconds: u32) -> Result<(), PodmanError> {
        Podman::stop(self, name, seconds)
    }
    fn wait(&self, name: &str, limit: Option<Duration>, watch: Option<Watch<'_>>) -> Result<i32, PodmanError> {
        Podman::wait(self, name, limit, watch)
    }
    fn copy_in(&self, name: &str, source: &Path, target: &str) -> Result<(), PodmanError> {
        Podman::copy_in(self, name, source, target).success().map(drop)
    }
    fn exec(&self, name: &str, command: &[String], limit: Option<Duration>) -> Result<Output, PodmanError> {
        Podman::exec(self, name, command, limit, None)
    }
    fn force_remove(&self, names: &[String]) -> Vec<Removal> {
        Podman::force_remove(self, names)
    }
    fn names_with_prefix(&self, prefix: &str) -> Vec<String> {
        Podman::names_with_prefix(self, prefix)
    }
}

/// A back end without containers: it remembers states and exit statuses, and every request succeeds.
#[derive(Debug, Default)]
pub struct Null {
    states: Mutex<BTreeMap<String, String>>,
    exits: Mutex<BTreeMap<String, i32>>,
}

impl Null {
    /// Gives a container a state.
    pub fn set_state(&self, name: &str, state: &str) {
        self.states.lock().expect("no holder panics").insert(name.into(), state.into());
    }

    /// Gives a container an exit status.
    pub fn set_exit_code(&self, name: &str, code: i32) {
        self.exits.lock().expect("no holder panics").insert(name.into(), code);
    }
}

impl Runtime for Null {
    fn state(&self, name: &str) -> Option<String> {
        self.states.lock().expect("no holder panics").get(name).cloned()
    }
    fn start(&self, name: &str) -> Result<(), PodmanError> {
        self.set_state(name, "running");
        Ok(())
    }
    fn stop(&self, name: &str, _seconds: u32) -> Result<(), PodmanError> {
        self.set_state(name, "exited");
        Ok(())
    }
    fn wait(&self, name: &str, _limit: Option<Duration>, _watch: Option<Watch<'_>>) -> Result<i32, PodmanError> {
        Ok(self.exits.lock().expect("no holder panics").get(name).copied().unwrap_or(0))
    }
    fn copy_in(&self, _name: &str, _source: &Path, _target: &str) -> Result<(), PodmanError> {
        Ok(())
    }
    fn exec(&self, _name: &str, _command: &[String], _limit: Option<Duration>) -> Result<Output, PodmanError> {
        Ok(Output { code: 0, stdout: Vec::new(), stderr: Vec::new() })
    }
    fn force_remove(&self, names: &[String]) -> Vec<Removal> {
        let mut states = self.states.lock().expect("no holder panics");
        let remove = |name: &String| {
            states.remove(name);
            Removal { name: name.clone(), removed: true, error: None }
        };
        names.iter().map(remove).collect()
    }
    fn names_with_prefix(&self, prefix: &str) -> Vec<String> {
        let states = self.states.lock().expect("no holder panics");
        states.keys().filter(|n| n.starts_with(&format!("{prefix}-"))).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_remembers_what_it_is_told() {
        let null = Null::default();
        let runtime: &dyn Runtime = &null;
        assert_eq!(runtime.state("a-x"), None);
        runtime.start("a-x").unwrap();
        null.set_exit_code("a-x", 124);
        assert_eq!(runtime.state("a-x").as_deref(), Some("running"));
        assert_eq!(runtime.wait("a-x", None, None).unwrap(), 124);
        assert_eq!(runtime.names_with_prefix("a"), ["a-x"]);
        assert!(runtime.names_with_prefix("a-x").is_empty());
        assert!(runtime.force_remove(&["a-x".into()])[0].removed);
        assert_eq!(runtime.state("a-x"), None);
    }
}
