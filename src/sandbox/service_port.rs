//! The three fixed ports of the host's services in TCP mode, kept from run to run.
//!
//! A port comes from the user (fixed), else from the record of the last run, else from the registry. Invariant: all three
//! are claimed or none is. Refuses to move silently: containers that run already know the recorded ports.

use std::path::Path;

use base::file;
use serde::Serialize;

use crate::port::{Ground, PortError, Registry, Wish};

/// Name of the record in the state directory.
pub const BACKUP: &str = "port-claims.json";
const LIMIT: u64 = 16384;

/// The claimed ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ServicePorts {
    /// Git gate.
    pub gate: u16,
    /// Credential broker.
    pub proxy: u16,
    /// SSH signer.
    pub ssh_agent: u16,
}

/// What the caller wants for one service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// A number, if any.
    pub port: Option<i64>,
    /// True when the user fixed it.
    pub explicit: bool,
}

const KEYS: [&str; 3] = ["gate", "proxy", "ssh_agent"];

/// Claims all three, in the order gate, proxy, SSH signer, and records them when the state directory exists.
///
/// # Errors
/// [`PortError`]; what was claimed on the way is released.
pub fn resolve(
    registry: &Registry,
    ground: &Ground,
    requests: [Request; 3],
    state_dir: &Path,
) -> Result<ServicePorts, PortError> {
    let saved = load(state_dir);
    let mut ports = [0; 3];
    for (index, (key, request)) in KEYS.into_iter().zip(requests).enumerate() {
        match claim_one(registry, ground, key, request, saved[index], state_dir) {
            Ok(port) => ports[index] = port,
            Err(error) => {
                KEYS[..index].iter().for_each(|key| registry.release(ground, key));
                return Err(error);
            }
        }
    }
    let [gate, proxy, ssh_agent] = ports;
    let found = ServicePorts { gate, proxy, ssh_agent };
    save(state_dir, &found);
    Ok(found)
}

fn claim_one(
    registry: &Registry,
    ground: &Ground,
    key: &'static str,
    request: Request,
    saved: Option<i64>,
    state_dir: &Path,
) -> Result<u16, PortError> {
    if request.explicit && request.port.is_some() {
        return registry.claim(ground, key, request.port, Wish::Fixed);
    }
    let Some(port) = saved else {
        return registry.claim(ground, key, request.port, Wish::Any);
    };
    let claimed = registry.claim(ground, key, saved, Wish::Ours);
    claimed.map_err(|source| PortError::Saved { key, port, backup: state_dir.join(BACKUP), source: Box::new(source) })
}

/// The record of the last run; a damaged one does not count.
fn load(state_dir: &Path) -> [Option<i64>; 3] {
    let read = file::read_regular(&state_dir.join(BACKUP), LIMIT).ok();
    let members = read.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    KEYS.map(|key| members.as_ref()?.get(key)?.as_i64())
}

/// Writes the record, if there is a state directory; a failure costs no more than new ports in the next run.
pub fn save(state_dir: &Path, ports: &ServicePorts) {
    if !state_dir.is_dir() {
        return;
    }
    let text = serde_json::to_vec(ports).unwrap_or_default();
    if let Err(error) = file::write_atomic(&state_dir.join(BACKUP), &text, file::PUBLIC) {
        base::notice::leave(&format!("the ports could not be recorded in `{}`: {error}", state_dir.display()));
    }
}
