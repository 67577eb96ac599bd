//! Bindings of the ways to the vault's passphrase: sealing, keyring, session file, handover of a changed passphrase.
//!
//! What fails silently by contract (the keyring) says so with `None` or `False`; everything else raises.

use std::path::PathBuf;

use ::base::secret::Secret;
use ::vault::VaultError;
use ::vault::passphrase::{self, handover, keyring, sealed};
use pyo3::prelude::*;

fn check<T>(outcome: Result<T, VaultError>) -> PyResult<T> {
    outcome.map_err(crate::errors::to_py)
}

#[pyfunction]
fn passphrase_forget_session_file(py: Python<'_>, path: PathBuf) -> PyResult<bool> {
    check(py.detach(|| passphrase::forget_session_file(&path)))
}

/// Why this host cannot seal, or `None`.
#[pyfunction]
fn passphrase_seal_obstacle(py: Python<'_>) -> Option<String> {
    py.detach(sealed::obstacle)
}

#[pyfunction]
fn passphrase_has_tpm2(py: Python<'_>) -> bool {
    py.detach(sealed::has_tpm2)
}

#[pyfunction]
fn passphrase_seal(py: Python<'_>, path: PathBuf, passphrase: String, mode: &str) -> PyResult<()> {
    let secret = Secret::new(passphrase);
    check(py.detach(|| sealed::seal(&path, &secret, mode)))
}

#[pyfunction]
fn passphrase_unseal(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    check(py.detach(|| sealed::unseal(&path))).map(|secret| secret.expose().to_owned())
}

#[pyfunction]
fn passphrase_forget_sealed(py: Python<'_>, path: PathBuf) -> PyResult<bool> {
    check(py.detach(|| sealed::forget(&path)))
}

#[pyfunction]
fn passphrase_keyring_load(py: Python<'_>, may_ask: bool) -> Option<String> {
    py.detach(|| keyring::load(may_ask)).map(|secret| secret.expose().to_owned())
}

#[pyfunction]
fn passphrase_keyring_store(py: Python<'_>, passphrase: String) -> bool {
    let secret = Secret::new(passphrase);
    py.detach(|| keyring::store(&secret))
}

#[pyfunction]
fn passphrase_keyring_forget(py: Python<'_>) -> bool {
    py.detach(keyring::forget)
}

/// Leaves the note that leads from the old passphrase to the new one.
#[pyfunction]
fn passphrase_handover_write(py: Python<'_>, vault: PathBuf, old: String, new: String) -> PyResult<()> {
    let (old, new) = (Secret::new(old), Secret::new(new));
    check(py.detach(|| handover::write(&vault, &old, &new)))
}

/// The passphrase that an interrupted change was leading to, for who has the old one.
#[pyfunction]
fn passphrase_handover_read(py: Python<'_>, vault: PathBuf, old: String) -> Option<String> {
    let old = Secret::new(old);
    py.detach(|| handover::read(&vault, &old)).map(|secret| secret.expose().to_owned())
}

/// Leaves the marker that a copy of the passphrase is kept elsewhere; it stays empty.
#[pyfunction]
fn passphrase_acknowledge(py: Python<'_>, path: PathBuf) -> PyResult<()> {
    py.detach(|| ::base::file::write_private(&path, b"")).map_err(|error| error.into())
}

#[pyfunction]
fn passphrase_handover_note(vault: PathBuf) -> PathBuf {
    handover::note(&vault)
}

#[pyfunction]
fn passphrase_handover_forget(py: Python<'_>, vault: PathBuf) -> PyResult<bool> {
    check(py.detach(|| handover::forget(&vault)))
}

/// Adds this room's functions to the extension module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(passphrase_forget_session_file, m)?)?;
    m.add_function(wrap_pyfunction!(passphrase_seal_obstacle, m)?)?;
    m.add_function(wrap_pyfunction!(passphrase_has_tpm2, m)?)?;
    m.add_function(wrap_pyfunction!(passphrase_seal, m)?)?;
    m.add_function(wrap_pyfunction!(passphrase_unseal, m)?)?;
    m.add_function(wrap_pyfunction!(passphrase_forget_sealed, m)?)?;
    m.add_function(wrap_pyfunction!(passphrase_keyring_load, m)?)?;
    m.add_function(wrap_pyfunction!(passphrase_keyring_store, m)?)?;
    m.add_function(wrap_pyfunction!(passphrase_keyring_forget, m)?)?;
    m.add_function(wrap_pyfunction!(passphrase_handover_write, m)?)?;
    m.add_function(wrap_pyfunction!(passphrase_handover_read, m)?)?;
    m.add_function(wrap_pyfunction!(passphrase_acknowledge, m)?)?;
    m.add_function(wrap_pyfunction!(passphrase_handover_note, m)?)?;
    m.add_function(wrap_pyfunction!(passphrase_handover_forget, m)?)
}
