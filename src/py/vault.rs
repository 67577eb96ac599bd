//! Bindings of the `vault` room: the store as a class, passphrase resolution as functions.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use ::base::secret::Secret;
use ::vault::passphrase::{self, Tiers};
use ::vault::{Store, VaultError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde_json::{Map, Value};

use crate::convert::{Typed, from_py, to_py};

fn check<T>(outcome: Result<T, VaultError>) -> PyResult<T> {
    outcome.map_err(crate::errors::to_py)
}

/// An open vault. Every method releases the GIL while it waits for the database.
#[pyclass(frozen, name = "VaultStore", module = "terok_native._lib")]
pub struct StoreRef(pub Arc<Store>);

impl StoreRef {
    fn run<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&Store) -> Result<T, VaultError> + Send) -> PyResult<T> {
        check(py.detach(|| work(&self.0)))
    }
}

#[pymethods]
impl StoreRef {
    #[new]
    fn new(py: Python<'_>, path: PathBuf, passphrase: String) -> PyResult<Self> {
        let secret = Secret::new(passphrase);
        check(py.detach(|| Store::open(&path, &secret))).map(|store| Self(Arc::new(store)))
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }

    fn begin(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, Store::begin)
    }

    fn end(&self, py: Python<'_>, keep: bool) -> PyResult<()> {
        self.run(py, |s| s.end(keep))
    }

    fn change_passphrase(&self, py: Python<'_>, new: String) -> PyResult<()> {
        let secret = Secret::new(new);
        self.run(py, |s| s.change_passphrase(&secret))
    }

    fn ssh_keys_version(&self, py: Python<'_>) -> PyResult<i64> {
        self.run(py, Store::ssh_keys_version)
    }

    /// Takes the record as JSON text of an object.
    fn store_credential(&self, py: Python<'_>, set: &str, provider: &str, data: &str) -> PyResult<()> {
        let record: Map<String, Value> = serde_json::from_str(data).map_err(|error| {
            pyo3::exceptions::PyValueError::new_err(format!("the credential record is not an object: {error}"))
        })?;
        self.run(py, |s| s.store_credential(set, provider, &record))
    }

    fn load_credential<'py>(&self, py: Python<'py>, set: &str, provider: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let record = self.run(py, |s| s.load_credential(set, provider))?;
        record.map(|r| to_py(py, &r)).transpose()
    }

    fn list_credentials(&self, py: Python<'_>, set: &str) -> PyResult<Vec<String>> {
        self.run(py, |s| s.list_credentials(set))
    }

    fn list_credential_sets(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.run(py, Store::list_credential_sets)
    }

    fn delete_credential(&self, py: Python<'_>, set: &str, provider: &str) -> PyResult<()> {
        self.run(py, |s| s.delete_credential(set, provider))
    }

    fn create_token(&self, py: Python<'_>, scope: &str, subject: &str, set: &str, provider: &str) -> PyResult<String> {
        self.run(py, |s| s.create_token(scope, subject, set, provider))
    }

    /// Takes `(credential set, provider)` pairs; the new tokens in that order.
    fn replace_tokens(
        &self,
        py: Python<'_>,
        scope: &str,
        subject: &str,
        wanted: Vec<(String, String)>,
    ) -> PyResult<Vec<String>> {
        let wanted: Vec<(&str, &str)> =
            wanted.iter().map(|(set, provider)| (set.as_str(), provider.as_str())).collect();
        self.run(py, |s| s.replace_tokens(scope, subject, &wanted))
    }

    fn lookup_token<'py>(&self, py: Python<'py>, token: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let row = self.run(py, |s| s.lookup_token(token))?;
        row.map(|r| to_py(py, &r)).transpose()
    }

    /// The binding that all tokens among the values share.
    fn binding<'py>(&self, py: Python<'py>, variables: HashMap<String, Typed>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut sorted: Vec<(&str, &str)> = variables.iter().map(|(n, v)| (n.as_str(), &**v)).collect();
        sorted.sort_unstable();
        let found = self.run(py, |s| s.binding(sorted))?;
        found.map(|binding| to_py(py, &binding)).transpose()
    }

    fn list_tokens<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &self.run(py, Store::list_tokens)?)
    }

    fn revoke_tokens(&self, py: Python<'_>, scope: &str, subject: &str) -> PyResult<usize> {
        self.run(py, |s| s.revoke_tokens(scope, subject))
    }

    fn store_ssh_key(
        &self,
        py: Python<'_>,
        kind: &str,
        private: &[u8],
        public: &[u8],
        comment: &str,
        fingerprint: &str,
    ) -> PyResult<i64> {
        self.run(py, |s| s.store_ssh_key(kind, private, public, comment, fingerprint))
    }

    fn ssh_key_by_fingerprint<'py>(&self, py: Python<'py>, fingerprint: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let row = self.run(py, |s| s.ssh_key_by_fingerprint(fingerprint))?;
        row.map(|r| to_py(py, &r)).transpose()
    }

    fn set_ssh_key_comment(&self, py: Python<'_>, fingerprint: &str, comment: &str) -> PyResult<bool> {
        self.run(py, |s| s.set_ssh_key_comment(fingerprint, comment))
    }

    fn assign_ssh_key(&self, py: Python<'_>, scope: &str, key: i64, allow_infra: bool) -> PyResult<()> {
        self.run(py, |s| s.assign_ssh_key(scope, key, allow_infra))
    }

    fn unassign_ssh_key(&self, py: Python<'_>, scope: &str, key: i64, allow_infra: bool) -> PyResult<()> {
        self.run(py, |s| s.unassign_ssh_key(scope, key, allow_infra))
    }

    fn replace_ssh_keys_for_scope(&self, py: Python<'_>, scope: &str, keep: i64, allow_infra: bool) -> PyResult<()> {
        self.run(py, |s| s.replace_ssh_keys_for_scope(scope, keep, allow_infra))
    }

    fn unassign_all_ssh_keys(&self, py: Python<'_>, scope: &str, allow_infra: bool) -> PyResult<usize> {
        self.run(py, |s| s.unassign_all_ssh_keys(scope, allow_infra))
    }

    fn list_ssh_keys_for_scope<'py>(&self, py: Python<'py>, scope: &str) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &self.run(py, |s| s.list_ssh_keys_for_scope(scope))?)
    }

    /// Tuples `(id, key_type, private_der, public_blob, comment, fingerprint)`.
    #[allow(clippy::type_complexity)]
    fn load_ssh_keys_for_scope<'py>(
        &self,
        py: Python<'py>,
        scope: &str,
    ) -> PyResult<Vec<(i64, String, Bound<'py, PyBytes>, Bound<'py, PyBytes>, String, String)>> {
        let records = self.run(py, |s| s.load_ssh_keys_for_scope(scope))?;
        Ok(records
            .into_iter()
            .map(|r| {
                let (private, public) = (PyBytes::new(py, &r.private_der), PyBytes::new(py, &r.public_blob));
                (r.id, r.key_type, private, public, r.comment, r.fingerprint)
            })
            .collect())
    }

    fn list_scopes_with_ssh_keys(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.run(py, Store::list_scopes_with_ssh_keys)
    }

    fn count_ssh_keys(&self, py: Python<'_>) -> PyResult<i64> {
        self.run(py, Store::count_ssh_keys)
    }
}

/// The passphrase and the label of its tier, or `None`; `tiers` is a dict of the tier settings.
#[pyfunction]
fn vault_resolve_passphrase(py: Python<'_>, tiers: &Bound<'_, PyAny>) -> PyResult<Option<(String, &'static str)>> {
    let tiers: Tiers = from_py(tiers)?;
    let found = check(py.detach(|| passphrase::resolve(&tiers)))?;
    Ok(found.map(|(secret, source)| (secret.expose().to_owned(), source.label())))
}

#[pyfunction]
fn vault_generate_passphrase() -> String {
    passphrase::generate().expose().to_owned()
}

#[pyfunction]
fn vault_write_session_file(py: Python<'_>, path: PathBuf, passphrase: String) -> PyResult<()> {
    let secret = Secret::new(passphrase);
    check(py.detach(|| passphrase::write_session_file(&path, &secret)))
}

/// The phantom tokens among the values of `variables`.
#[pyfunction]
fn vault_tokens_in(variables: HashMap<String, Typed>) -> Vec<String> {
    variables.values().flat_map(|value| ::vault::token::find(value)).map(str::to_owned).collect()
}

#[pyfunction]
fn vault_check_scope(scope: &str) -> PyResult<()> {
    check(::vault::sshkey::check_scope(scope))
}

/// Encrypts a plain database in place.
#[pyfunction]
fn vault_encrypt_in_place(py: Python<'_>, path: PathBuf, passphrase: String) -> PyResult<()> {
    let secret = Secret::new(passphrase);
    check(py.detach(|| ::vault::encrypt::encrypt_in_place(&path, &secret)))
}

/// Whether a file begins as a database without encryption does; false when it cannot be read.
#[pyfunction]
fn vault_is_plain(py: Python<'_>, path: PathBuf) -> bool {
    py.detach(|| ::vault::header::is_plain(&path)).unwrap_or(false)
}

/// Adds this room's functions and classes to the extension module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<StoreRef>()?;
    m.add_function(wrap_pyfunction!(vault_encrypt_in_place, m)?)?;
    m.add_function(wrap_pyfunction!(vault_is_plain, m)?)?;
    m.add_function(wrap_pyfunction!(vault_resolve_passphrase, m)?)?;
    m.add_function(wrap_pyfunction!(vault_generate_passphrase, m)?)?;
    m.add_function(wrap_pyfunction!(vault_write_session_file, m)?)?;
    m.add_function(wrap_pyfunction!(vault_tokens_in, m)?)?;
    m.add_function(wrap_pyfunction!(vault_check_scope, m)?)
}
