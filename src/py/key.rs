//! Bindings of SSH key material: generating, reading and writing key files, and keys on their way through the vault.

use std::path::PathBuf;

use ::base::secret::Secret;
use ::vault::VaultError;
use ::vault::key::{self, Keypair, PrivateKey};
use ::vault::sshkey::KeyRecord;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::vault::StoreRef;

/// `(key_type, private_der, public_blob, public_line, comment, fingerprint)`.
type Pair<'py> = (&'static str, Bound<'py, PyBytes>, Bound<'py, PyBytes>, String, String, String);
/// `(id, key_type, fingerprint, comment, public_line)`.
type Made = (i64, String, String, String, String);

fn check<T>(outcome: Result<T, VaultError>) -> PyResult<T> {
    outcome.map_err(crate::errors::to_py)
}

fn pair<'py>(py: Python<'py>, made: &Keypair) -> PyResult<Pair<'py>> {
    let (private, public) = (PyBytes::new(py, &made.private_der), PyBytes::new(py, &made.public_blob));
    let line = check(made.public_line())?;
    Ok((made.key_type, private, public, line, made.comment.clone(), made.fingerprint.clone()))
}

fn made(record: KeyRecord) -> PyResult<Made> {
    let line = check(key::line_of(&record.public_blob, &record.comment))?;
    Ok((record.id, record.key_type, record.fingerprint, record.comment, line))
}

#[pyfunction]
fn key_generate<'py>(py: Python<'py>, key_type: &str, comment: &str) -> PyResult<Pair<'py>> {
    let generated = check(py.detach(|| Keypair::generate(key_type, comment)))?;
    pair(py, &generated)
}

/// A pair from the content of its files.
#[pyfunction]
#[pyo3(signature = (private, public=None, comment=None, passphrase=None))]
fn key_read<'py>(
    py: Python<'py>,
    private: &[u8],
    public: Option<&[u8]>,
    comment: Option<&str>,
    passphrase: Option<String>,
) -> PyResult<Pair<'py>> {
    let passphrase = passphrase.map(Secret::new);
    let read = check(py.detach(|| Keypair::read(private, public, comment, passphrase.as_ref())))?;
    pair(py, &read)
}

#[pyfunction]
fn key_fingerprint(public_blob: &[u8]) -> String {
    key::fingerprint_of(public_blob)
}

#[pyfunction]
fn key_public_line(public_blob: &[u8], comment: &str) -> PyResult<String> {
    check(key::line_of(public_blob, comment))
}

/// PKCS#8 DER to OpenSSH's text.
#[pyfunction]
fn key_openssh<'py>(py: Python<'py>, private_der: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let text = check(PrivateKey::from_pkcs8(private_der).and_then(|key| key.to_openssh()))?;
    Ok(PyBytes::new(py, text.as_bytes()))
}

/// `(key_id, fingerprint, comment, already_present, scope_was_assigned)`.
#[pyfunction]
#[pyo3(signature = (store, scope, private, public=None, comment=None, passphrase=None))]
fn key_import(
    py: Python<'_>,
    store: &StoreRef,
    scope: &str,
    private: PathBuf,
    public: Option<PathBuf>,
    comment: Option<&str>,
    passphrase: Option<String>,
) -> PyResult<(i64, String, String, bool, bool)> {
    let passphrase = passphrase.map(Secret::new);
    let done = py.detach(|| store.0.import_ssh_files(scope, &private, public.as_deref(), comment, passphrase.as_ref()));
    let done = check(done)?;
    Ok((done.key_id, done.fingerprint, done.comment, done.already_present, done.scope_was_assigned))
}

/// `(key_id, fingerprint, private_path, public_path)`.
#[pyfunction]
#[pyo3(signature = (store, scope, directory, key_id=None, name=None))]
fn key_export(
    py: Python<'_>,
    store: &StoreRef,
    scope: &str,
    directory: PathBuf,
    key_id: Option<i64>,
    name: Option<&str>,
) -> PyResult<(i64, String, PathBuf, PathBuf)> {
    let done = check(py.detach(|| store.0.export_ssh_key(scope, &directory, key_id, name)))?;
    Ok((done.key_id, done.fingerprint, done.private_path, done.public_path))
}

#[pyfunction]
#[pyo3(signature = (store, scope, key_type, comment=None, force=false))]
fn key_init(
    py: Python<'_>,
    store: &StoreRef,
    scope: &str,
    key_type: &str,
    comment: Option<&str>,
    force: bool,
) -> PyResult<Made> {
    made(check(py.detach(|| store.0.init_ssh_key(scope, key_type, comment, force)))?)
}

/// What [`key_init`] gives, then the private key as OpenSSH's text, and whether it was made by this call.
#[pyfunction]
#[pyo3(signature = (store, scope, key_type, comment=None))]
fn key_ensure_infra<'py>(
    py: Python<'py>,
    store: &StoreRef,
    scope: &str,
    key_type: &str,
    comment: Option<&str>,
) -> PyResult<(Made, Bound<'py, PyBytes>, bool)> {
    let infra = check(py.detach(|| store.0.ensure_infra_key(scope, comment, key_type)))?;
    let text = key_openssh(py, &infra.record.private_der)?;
    Ok((made(infra.record)?, text, infra.created))
}

/// Adds the functions on key material to the extension module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(key_generate, m)?)?;
    m.add_function(wrap_pyfunction!(key_read, m)?)?;
    m.add_function(wrap_pyfunction!(key_fingerprint, m)?)?;
    m.add_function(wrap_pyfunction!(key_public_line, m)?)?;
    m.add_function(wrap_pyfunction!(key_openssh, m)?)?;
    m.add_function(wrap_pyfunction!(key_import, m)?)?;
    m.add_function(wrap_pyfunction!(key_export, m)?)?;
    m.add_function(wrap_pyfunction!(key_init, m)?)?;
    m.add_function(wrap_pyfunction!(key_ensure_infra, m)?)
}
