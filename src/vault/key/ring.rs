//! Keys on their way into the vault and out of it: import, export, generation for a scope.
//!
//! Invariants: scope, comment and key are checked before anything is stored, and storing is one transaction, so that a
//! refusal leaves no trace; files are created exclusively, the private one 0600.

use std::path::{Path, PathBuf};

use base::secret::Secret;
use zeroize::Zeroizing;

use super::pem::LARGEST_FILE;
use super::private::PrivateKey;
use super::public::{PublicKey, fingerprint_of, line_of, short_id};
use crate::error::VaultError;
use crate::sshkey::{KeyRecord, check_comment, check_writable_scope};
use crate::store::Store;

/// Comments of a scope's first key begin with this; agents are offered it first.
const MAIN: &str = "tk-main:";

/// A key pair that is not stored yet.
pub struct Keypair {
    /// `ed25519`, `rsa` or `ecdsa`.
    pub key_type: &'static str,
    /// Unencrypted PKCS#8 DER.
    pub private_der: Zeroizing<Vec<u8>>,
    /// SSH wire form of the public key.
    pub public_blob: Vec<u8>,
    /// Free text.
    pub comment: String,
    /// `SHA256:` form.
    pub fingerprint: String,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Row number.
    pub key_id: i64,
    /// `SHA256:` form.
    pub fingerprint: String,
    /// The comment that was found or given; a key that was there before keeps its own.
    pub comment: String,
    /// The key was in the vault before.
    pub already_present: bool,
    /// The scope had the key before.
    pub scope_was_assigned: bool,
}

/// The two files of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Row number.
    pub key_id: i64,
    /// `SHA256:` form.
    pub fingerprint: String,
    /// The private key, 0600.
    pub private_path: PathBuf,
    /// The public key, 0644.
    pub public_path: PathBuf,
}

/// The key of one of the product's own scopes.
pub struct Infra {
    /// Its record.
    pub record: KeyRecord,
    /// It was made by this call.
    pub created: bool,
}

impl Keypair {
    /// Generates a pair; see [`PrivateKey::generate`].
    ///
    /// # Errors
    /// [`VaultError::Comment`], [`VaultError::KeyType`].
    pub fn generate(key_type: &str, comment: &str) -> Result<Self, VaultError> {
        check_comment(comment)?;
        Self::of(&PrivateKey::generate(key_type)?, comment.to_owned())
    }

    /// Reads a pair from the content of its files. The comment is the given one, else the public file's.
    ///
    /// # Errors
    /// [`VaultError::KeyMismatch`], [`VaultError::ShortKey`], [`VaultError::Comment`] and those of [`PrivateKey::from_file_bytes`].
    pub fn read(
        private: &[u8],
        public: Option<&[u8]>,
        comment: Option<&str>,
        passphrase: Option<&Secret>,
    ) -> Result<Self, VaultError> {
        let key = PrivateKey::from_file_bytes(private, passphrase)?;
        key.refuse_short()?;
        let public = public.map(PublicKey::from_file_bytes).transpose()?;
        if public.as_ref().is_some_and(|p| key.public_blob().is_ok_and(|blob| blob != p.blob)) {
            return Err(VaultError::KeyMismatch);
        }
        let comment = comment.map_or_else(|| public.map(|p| p.comment).unwrap_or_default(), str::to_owned);
        check_comment(&comment)?;
        Self::of(&key, comment)
    }

    fn of(key: &PrivateKey, comment: String) -> Result<Self, VaultError> {
        let public_blob = key.public_blob()?;
        let fingerprint = fingerprint_of(&public_blob);
        Ok(Self { key_type: key.kind().label(), private_der: key.to_pkcs8()?, public_blob, comment, fingerprint })
    }

    /// The public key on one line.
    ///
    /// # Errors
    /// None in practice: see [`line_of`].
    pub fn public_line(&self) -> Result<String, VaultError> {
        line_of(&self.public_blob, &self.comment)
    }

    fn put_into(&self, store: &Store) -> Result<i64, VaultError> {
        store.store_ssh_key(self.key_type, &self.private_der, &self.public_blob, &self.comment, &self.fingerprint)
    }
}

impl Store {
    /// Stores a pair and assigns it to `scope`.
    ///
    /// # Errors
    /// [`VaultError::Scope`], else the store's write failures; nothing is stored then.
    pub fn import_ssh_key(&self, scope: &str, pair: &Keypair) -> Result<Imported, VaultError> {
        check_writable_scope(scope, false)?;
        self.transaction(|| {
            let before = self.ssh_key_by_fingerprint(&pair.fingerprint)?;
            let assigned = self.list_ssh_keys_for_scope(scope)?.iter().any(|row| row.fingerprint == pair.fingerprint);
            let key_id = pair.put_into(self)?;
            self.assign_ssh_key(scope, key_id, false)?;
            Ok(Imported {
                key_id,
                fingerprint: pair.fingerprint.clone(),
                comment: pair.comment.clone(),
                already_present: before.is_some(),
                scope_was_assigned: assigned,
            })
        })
    }

    /// Reads a pair from files and imports it; see [`Keypair::read`] and [`Store::import_ssh_key`].
    ///
    /// # Errors
    /// Theirs; [`VaultError::KeyAbsent`] for a file that is not there.
    pub fn import_ssh_files(
        &self,
        scope: &str,
        private: &Path,
        public: Option<&Path>,
        comment: Option<&str>,
        passphrase: Option<&Secret>,
    ) -> Result<Imported, VaultError> {
        check_writable_scope(scope, false)?;
        let secret = Zeroizing::new(read_file(private)?);
        let line = public.map(read_file).transpose()?;
        self.import_ssh_key(scope, &Keypair::read(&secret, line.as_deref(), comment, passphrase)?)
    }

    /// Writes a key of `scope` (the newest, or the one numbered `id`) to two new files in `directory`.
    ///
    /// # Errors
    /// [`VaultError::NoKey`], [`VaultError::KeyName`], [`VaultError::KeyExists`], [`VaultError::Io`]; no file is left.
    pub fn export_ssh_key(
        &self,
        scope: &str,
        directory: &Path,
        id: Option<i64>,
        name: Option<&str>,
    ) -> Result<Exported, VaultError> {
        if let Some(name) = name {
            check_bare(name)?;
        }
        let record = self.ssh_key_of_scope(scope, id)?;
        let name =
            name.map_or_else(|| format!("id_{}_{}", record.key_type, short_id(&record.public_blob)), str::to_owned);
        let pem = PrivateKey::from_pkcs8(&record.private_der)?.to_openssh()?;
        let line = format!("{}\n", line_of(&record.public_blob, &record.comment)?);
        let fail =
            |path: &Path, source| VaultError::Io { doing: "write the key file", path: path.to_path_buf(), source };
        base::file::create_private_dir(directory).map_err(|e| fail(directory, e))?;
        let (private_path, public_path) = (directory.join(&name), directory.join(format!("{name}.pub")));
        let create = |path: &Path, text: &str, mode| match base::file::create_new(path, text.as_bytes(), mode) {
            Ok(true) => Ok(()),
            Ok(false) => Err(VaultError::KeyExists(path.to_path_buf())),
            Err(source) => Err(fail(path, source)),
        };
        create(&private_path, &pem, base::file::PRIVATE)?;
        create(&public_path, &line, base::file::PUBLIC).inspect_err(|_| {
            let _ = std::fs::remove_file(&private_path);
        })?;
        Ok(Exported { key_id: record.id, fingerprint: record.fingerprint, private_path, public_path })
    }

    /// A key of `scope`: the one numbered `id`, else the newest.
    ///
    /// # Errors
    /// [`VaultError::NoKey`], else the store's read failures.
    pub fn ssh_key_of_scope(&self, scope: &str, id: Option<i64>) -> Result<KeyRecord, VaultError> {
        let records = self.load_ssh_keys_for_scope(scope)?;
        let found = records.into_iter().rfind(|record| id.is_none_or(|id| record.id == id));
        found.ok_or_else(|| VaultError::NoKey { scope: scope.to_owned(), id })
    }

    /// The newest key of one of the product's own scopes (`%…`), made when there is none.
    ///
    /// # Errors
    /// [`VaultError::Scope`], [`VaultError::Comment`], [`VaultError::KeyType`], else the store's write failures.
    pub fn ensure_infra_key(&self, scope: &str, comment: Option<&str>, key_type: &str) -> Result<Infra, VaultError> {
        if !scope.starts_with('%') {
            return Err(VaultError::Scope {
                scope: scope.to_owned(),
                why: "scopes of the product itself begin with `%`",
            });
        }
        check_writable_scope(scope, true)?;
        let newest = || self.load_ssh_keys_for_scope(scope).map(|mut records| records.pop());
        if let Some(record) = newest()? {
            return Ok(Infra { record, created: false });
        }
        let pair = Keypair::generate(key_type, comment.unwrap_or(&format!("terok-infra:{scope}")))?;
        self.transaction(|| {
            if let Some(record) = newest()? {
                return Ok(Infra { record, created: false });
            }
            let id = pair.put_into(self)?;
            self.assign_ssh_key(scope, id, true)?;
            Ok(Infra { record: self.ssh_key_of_scope(scope, Some(id))?, created: true })
        })
    }

    /// Gives `scope` a key: its main one, which is made when needed; another one when a comment is given or only other
    /// keys are there; with `force` a new one in place of all others.
    ///
    /// # Errors
    /// [`VaultError::Scope`], [`VaultError::Comment`], [`VaultError::KeyType`], else the store's write failures;
    /// nothing is stored then.
    pub fn init_ssh_key(
        &self,
        scope: &str,
        key_type: &str,
        comment: Option<&str>,
        force: bool,
    ) -> Result<KeyRecord, VaultError> {
        check_writable_scope(scope, false)?;
        let reusable = || -> Result<Option<KeyRecord>, VaultError> {
            if force || comment.is_some() {
                return Ok(None);
            }
            Ok(self.load_ssh_keys_for_scope(scope)?.into_iter().find(|record| record.comment.starts_with(MAIN)))
        };
        if let Some(record) = reusable()? {
            return Ok(record);
        }
        // Generating takes long enough that nobody should wait for our write lock meanwhile.
        let mut pair = Keypair::generate(key_type, comment.unwrap_or_default())?;
        self.transaction(|| {
            if let Some(record) = reusable()? {
                return Ok(record);
            }
            if comment.is_none() {
                let count = if force { 0 } else { self.list_ssh_keys_for_scope(scope)?.len() };
                pair.comment =
                    if count == 0 { format!("{MAIN}{scope}") } else { format!("tk-side:{scope}:{}", count + 1) };
            }
            let id = pair.put_into(self)?;
            if force {
                self.replace_ssh_keys_for_scope(scope, id, false)?;
            } else {
                self.assign_ssh_key(scope, id, false)?;
            }
            self.ssh_key_of_scope(scope, Some(id))
        })
    }
}

/// The operator's own file: links are followed, as `ssh` does.
fn read_file(path: &Path) -> Result<Vec<u8>, VaultError> {
    let fail = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => VaultError::KeyAbsent(path.to_path_buf()),
        _ => VaultError::Io { doing: "read the key file", path: path.to_path_buf(), source },
    };
    base::file::read_regular(&path.canonicalize().map_err(fail)?, LARGEST_FILE).map_err(fail)
}

fn check_bare(name: &str) -> Result<(), VaultError> {
    let bare = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0']);
    if bare { Ok(()) } else { Err(VaultError::KeyName(name.to_owned())) }
}
