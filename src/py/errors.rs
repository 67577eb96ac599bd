//! The one place where a room's fault becomes a Python exception.
//!
//! Exception classes live in the shims; they are looked up by name when needed, never at import. The hint follows the
//! message on a line of its own; `code` and `hint` are also set as attributes where the class allows it.

use ::base::fault::{Fault, Kind, explain};
use pyo3::exceptions::{
    PyFileExistsError, PyFileNotFoundError, PyKeyError, PyOSError, PyRuntimeError, PySystemExit, PyTimeoutError,
    PyTypeError, PyValueError,
};
use pyo3::prelude::*;

/// Converts a fault; must be called with the interpreter attached.
pub fn to_py(fault: impl Fault) -> PyErr {
    let text = explain(&fault);
    let error = match fault.kind() {
        Kind::Usage => PySystemExit::new_err(text),
        Kind::Value => PyValueError::new_err(text),
        Kind::Type => PyTypeError::new_err(text),
        Kind::Runtime => PyRuntimeError::new_err(text),
        Kind::Timeout => PyTimeoutError::new_err(text),
        Kind::NotFound => PyFileNotFoundError::new_err(text),
        Kind::Exists => PyFileExistsError::new_err(text),
        Kind::Os => PyOSError::new_err(text),
        Kind::Key => PyKeyError::new_err(text),
        Kind::Build => shim("terok_executor.container.build", "BuildError", text),
        Kind::Gpu => shim("terok_sandbox.runtime", "GpuConfigError", text),
        Kind::NoPassphrase => shim("terok_sandbox.vault.store.encryption", "NoPassphraseError", text),
        Kind::WrongPassphrase => shim("terok_sandbox.vault.store.encryption", "WrongPassphraseError", text),
        Kind::PlaintextDb => shim("terok_sandbox.vault.store.encryption", "PlaintextDBFoundError", text),
        Kind::VaultBusy => shim("terok_sandbox.vault.store.encryption", "VaultBusyError", text),
        Kind::VaultCorrupt => shim("terok_sandbox.vault.store.encryption", "VaultCorruptError", text),
        Kind::InvalidScope => shim("terok_sandbox.vault.store.db", "InvalidScopeName", text),
        Kind::UnsafeComment => shim("terok_sandbox.vault.store.db", "UnsafeCommentError", text),
        Kind::KeyLocked => shim("terok_sandbox.vault.ssh.keypair", "PasswordProtectedKeyError", text),
        Kind::KeyMismatch => shim("terok_sandbox.vault.ssh.keypair", "KeypairMismatchError", text),
        Kind::ConfigPatch => shim("terok_executor.credentials.vault_config", "ConfigPatchError", text),
    };
    annotate(error, &fault)
}

/// An exception of a class that a shim module defines; a missing shim is reported together with the original text.
fn shim(module: &str, class: &str, text: String) -> PyErr {
    Python::attach(|py| {
        let found = py.import(module).and_then(|m| m.getattr(class)).and_then(|c| c.call1((text.clone(),)));
        match found {
            Ok(value) => PyErr::from_value(value),
            Err(missing) => PyRuntimeError::new_err(format!("{text} ({module}.{class}: {missing})")),
        }
    })
}

fn annotate(error: PyErr, fault: &dyn Fault) -> PyErr {
    Python::attach(|py| {
        let value = error.value(py);
        let _ = value.setattr("fault_code", fault.code());
        let _ = value.setattr("hint", fault.hint());
    });
    error
}
