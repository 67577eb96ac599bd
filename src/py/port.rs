//! Bindings of the `sandbox` room: port claims and the setup stamp.
//!
//! A registry handle keeps what this process holds; directory and range come with every call, because callers may move
//! the directory.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ::sandbox::port::{Ground, Registry, Wish};
use ::sandbox::service_port::{self, Request};
use ::sandbox::stamp;
use pyo3::prelude::*;

use crate::base::report;
use crate::errors;

/// The port claims of one process.
#[pyclass(frozen, module = "terok_native._lib")]
#[derive(Default)]
struct PortRegistryRef(Registry);

#[pymethods]
impl PortRegistryRef {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    #[pyo3(signature = (dir, range, key, port=None, wish="any"))]
    fn claim(
        &self,
        py: Python<'_>,
        dir: PathBuf,
        range: (u16, u16),
        key: &str,
        port: Option<i64>,
        wish: &str,
    ) -> PyResult<u16> {
        let wish = match wish {
            "fixed" => Wish::Fixed,
            "ours" => Wish::Ours,
            "kept" => Wish::Kept,
            _ => Wish::Any,
        };
        let ground = Ground { dir, range };
        let claimed = py.detach(|| self.0.claim(&ground, key, port, wish));
        report(py);
        claimed.map_err(errors::to_py)
    }

    fn release(&self, py: Python<'_>, dir: PathBuf, range: (u16, u16), key: &str) {
        let ground = Ground { dir, range };
        py.detach(|| self.0.release(&ground, key));
        report(py);
    }

    fn reset(&self) {
        self.0.reset();
    }

    /// The three service ports in the order gate, broker, SSH signer; a request is `(port or None, fixed)`.
    fn resolve(
        &self,
        py: Python<'_>,
        dir: PathBuf,
        range: (u16, u16),
        requests: [(Option<i64>, bool); 3],
        state_dir: PathBuf,
    ) -> PyResult<(u16, u16, u16)> {
        let ground = Ground { dir, range };
        let requests = requests.map(|(port, explicit)| Request { port, explicit });
        let found = py.detach(|| service_port::resolve(&self.0, &ground, requests, &state_dir));
        report(py);
        let ports = found.map_err(errors::to_py)?;
        Ok((ports.gate, ports.proxy, ports.ssh_agent))
    }
}

#[pyfunction]
fn sandbox_port_is_free(port: u16) -> bool {
    ::sandbox::port::is_free(port)
}

#[pyfunction]
fn sandbox_stamp_installed(python_path: Vec<PathBuf>) -> BTreeMap<String, String> {
    stamp::installed(&python_path)
}

#[pyfunction]
fn sandbox_stamp_verdict(path: PathBuf, installed: BTreeMap<String, String>) -> &'static str {
    stamp::verdict(&path, &installed).name()
}

#[pyfunction]
fn sandbox_stamp_write(path: PathBuf, packages: BTreeMap<String, String>, completed_at: &str) -> PyResult<()> {
    stamp::write(&path, &packages, completed_at).map_err(errors::to_py)
}

#[pyfunction]
fn sandbox_stamp_clear(path: PathBuf) -> PyResult<bool> {
    stamp::clear(&path).map_err(errors::to_py)
}

/// -1, 0 or 1 as version `a` is older than, equal to or newer than `b`.
#[pyfunction]
fn sandbox_compare_versions(a: &str, b: &str) -> i8 {
    stamp::compare(a, b) as i8
}

/// Adds this file's functions and classes to the extension module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PortRegistryRef>()?;
    m.add_function(wrap_pyfunction!(sandbox_port_is_free, m)?)?;
    m.add_function(wrap_pyfunction!(sandbox_stamp_installed, m)?)?;
    m.add_function(wrap_pyfunction!(sandbox_stamp_verdict, m)?)?;
    m.add_function(wrap_pyfunction!(sandbox_stamp_write, m)?)?;
    m.add_function(wrap_pyfunction!(sandbox_stamp_clear, m)?)?;
    m.add_function(wrap_pyfunction!(sandbox_compare_versions, m)?)
}
