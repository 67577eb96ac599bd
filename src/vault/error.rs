//! Everything that can go wrong with the vault, one variant per failed operation.

use std::path::{Path, PathBuf};

use base::fault::{Fault, Kind};
use rusqlite::ErrorCode;

/// `SQLITE_IOERR_SHMSIZE`.
const SHARED_FILE_CANNOT_GROW: i32 = 10 | (19 << 8);

/// A failed vault operation.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// No passphrase was given or found.
    #[error("cannot open the vault `{}`: no passphrase is available", .0.display())]
    NoPassphrase(PathBuf),
    /// The passphrase does not fit the file.
    #[error("cannot open the vault `{}`: the passphrase is wrong", .0.display())]
    WrongPassphrase(PathBuf),
    /// A configured way to the passphrase failed; lower tiers are not asked.
    #[error("cannot get the vault passphrase from the {tier} tier: {why}")]
    Tier {
        /// Label of the tier.
        tier: &'static str,
        /// What happened, without the secret and without the command.
        why: String,
    },
    /// An empty text where a passphrase is needed.
    #[error("cannot use an empty passphrase")]
    EmptyPassphrase,
    /// The passphrase could not be sealed.
    #[error("cannot seal the vault passphrase: {why}")]
    Seal {
        /// What happened.
        why: String,
    },
    /// The file is an unencrypted database.
    #[error("cannot open the vault `{}`: it is not encrypted", .0.display())]
    Plaintext(PathBuf),
    /// The passphrase was changed while the handle was open.
    #[error("cannot go on with the vault `{}`: its passphrase was changed meanwhile", .0.display())]
    Rekeyed(PathBuf),
    /// There is no such file.
    #[error("cannot encrypt the vault `{}`: it does not exist", .0.display())]
    Absent(PathBuf),
    /// The file is not an unencrypted database.
    #[error("cannot encrypt the vault `{}`: it is not a plain database", .0.display())]
    Encrypted(PathBuf),
    /// The file is no database at all, or damaged.
    #[error("cannot use the vault `{}`: the file is damaged", .0.display())]
    Corrupt(PathBuf),
    /// Another process holds the database.
    #[error("cannot use the vault `{}`: another process keeps it locked", .0.display())]
    Busy(PathBuf),
    /// The file or its directory cannot be written.
    #[error("cannot write the vault `{}`: it is read-only", .0.display())]
    ReadOnly(PathBuf),
    /// The disk is full.
    #[error("cannot write the vault `{}`: no space is left on the disk", .0.display())]
    Full(PathBuf),
    /// The handle was closed.
    #[error("cannot use the vault: the handle is closed")]
    Closed,
    /// The operating system refused.
    #[error("cannot {doing} `{}`", .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The database refused for another reason.
    #[error("cannot use the vault `{}`", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: rusqlite::Error,
    },
    /// A stored record is not what its column promises.
    #[error("cannot read the {what} from the vault: the stored record is not valid")]
    Record {
        /// The record.
        what: String,
    },
    /// An environment holds a phantom token that has no owner in this vault.
    #[error("cannot bind the phantom token in variable `{}`: the vault does not know it", base::text::sanitize_tty(.variable))]
    UnboundToken {
        /// The variable.
        variable: String,
    },
    /// An environment holds phantom tokens of two owners.
    #[error(
        "cannot bind the phantom tokens in variables `{}` and `{}`: they belong to two containers",
        base::text::sanitize_tty(.first),
        base::text::sanitize_tty(.second)
    )]
    MixedTokens {
        /// Variable with the first owner's token.
        first: String,
        /// Variable with the other one's.
        second: String,
    },
    /// A credential scope is malformed.
    #[error("invalid scope `{}`: {why}", base::text::sanitize_tty(.scope))]
    Scope {
        /// The scope.
        scope: String,
        /// The broken rule.
        why: &'static str,
    },
    /// A key comment is malformed.
    #[error("unsafe key comment: {0}")]
    Comment(&'static str),
    /// A key type is not supported.
    #[error("cannot take a key of type `{}`: it is not supported", base::text::sanitize_tty(.0))]
    KeyType(String),
    /// A key, or the file it lies in, is not what it should be.
    #[error("cannot read the {what}: {why}")]
    KeyFile {
        /// Private key, public key.
        what: &'static str,
        /// The reason, without the key.
        why: String,
    },
    /// A private key needs a passphrase to be read.
    #[error("cannot read the private key: it is protected by a passphrase")]
    KeyLocked,
    /// The passphrase of a private key is wrong.
    #[error("cannot read the private key: the passphrase does not open it, or the file is damaged")]
    KeyPassphrase,
    /// Public and private key are not a pair.
    #[error("cannot take the key: the public key does not belong to the private key")]
    KeyMismatch,
    /// An RSA key is too short to be safe.
    #[error("cannot take the key: an RSA key of {0} bits is too short")]
    ShortKey(u32),
    /// The key that was asked for is not there.
    #[error("cannot find the key: scope `{}` has {}", base::text::sanitize_tty(.scope), match .id {
        Some(id) => format!("no key with the number {id}"),
        None => "no key".to_owned(),
    })]
    NoKey {
        /// The scope.
        scope: String,
        /// The number, when one was given.
        id: Option<i64>,
    },
    /// A name for a key file would leave its directory.
    #[error("cannot write a key file named `{}`: it is not a bare file name", base::text::sanitize_tty(.0))]
    KeyName(String),
    /// A key file does not exist.
    #[error("cannot read the key file `{}`: it does not exist", .0.display())]
    KeyAbsent(PathBuf),
    /// A key file exists already.
    #[error("cannot write the key file `{}`: it exists already", .0.display())]
    KeyExists(PathBuf),
    /// OpenSSL could not do its part.
    #[error("cannot {0}: the cryptographic library refuses")]
    Crypto(&'static str),
}

impl VaultError {
    /// Sorts a database error by what the reader can do about it.
    pub(crate) fn from_sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_path_buf();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(path),
            Some(ErrorCode::ReadOnly) => Self::ReadOnly(path),
            Some(ErrorCode::DiskFull) => Self::Full(path),
            // The file that coordinates readers and writers cannot grow; the database's own code for a full disk is
            // for the database alone.
            _ if source.sqlite_error().is_some_and(|error| error.extended_code == SHARED_FILE_CANNOT_GROW) => {
                Self::Full(path)
            }
            Some(ErrorCode::NotADatabase) => Self::Rekeyed(path),
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt(path),
            _ => Self::Database { path, source },
        }
    }
}

impl Fault for VaultError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoPassphrase(_) => "vault-no-passphrase",
            Self::WrongPassphrase(_) => "vault-wrong-passphrase",
            Self::Tier { .. } => "vault-tier",
            Self::EmptyPassphrase => "vault-empty-passphrase",
            Self::Seal { .. } => "vault-seal",
            Self::Plaintext(_) => "vault-plaintext",
            Self::Rekeyed(_) => "vault-rekeyed",
            Self::Absent(_) => "vault-absent",
            Self::Encrypted(_) => "vault-encrypted",
            Self::Corrupt(_) => "vault-corrupt",
            Self::Busy(_) => "vault-busy",
            Self::ReadOnly(_) => "vault-read-only",
            Self::Full(_) => "vault-disk-full",
            Self::Closed => "vault-closed",
            Self::Io { .. } => "vault-io",
            Self::Database { .. } => "vault-database",
            Self::Record { .. } => "vault-record",
            Self::UnboundToken { .. } => "vault-token-unbound",
            Self::MixedTokens { .. } => "vault-tokens-mixed",
            Self::Scope { .. } => "vault-scope",
            Self::Comment(_) => "vault-comment",
            Self::KeyType(_) => "vault-key-type",
            Self::KeyFile { .. } => "vault-key-file",
            Self::KeyLocked => "vault-key-locked",
            Self::KeyPassphrase => "vault-key-passphrase",
            Self::KeyMismatch => "vault-key-mismatch",
            Self::ShortKey(_) => "vault-key-short",
            Self::NoKey { .. } => "vault-key-unknown",
            Self::KeyName(_) => "vault-key-name",
            Self::KeyAbsent(_) => "vault-key-absent",
            Self::KeyExists(_) => "vault-key-exists",
            Self::Crypto(_) => "vault-crypto",
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoPassphrase(_) => "unlock it with `terok-sandbox vault unlock`, or run `terok-executor setup` first",
            Self::WrongPassphrase(_) => {
                "check the tiers with `terok-sandbox doctor`; a stale session file shadows a right passphrase below it"
            }
            Self::Tier { .. } => "repair or remove this tier; lower tiers are not asked while it is configured",
            Self::Rekeyed(_) => "open it again with the new passphrase; if nobody changed it, the file is damaged",
            Self::Plaintext(_) => "encrypt it in place with `terok-sandbox credentials encrypt-db`",
            Self::Corrupt(_) => "restore the file from a backup, or move it away and store the credentials again",
            Self::Busy(_) => "try again in a moment; if it stays so, look for a hanging process with `fuser`",
            Self::ReadOnly(_) => "check owner, mode and mount of the file and its directory",
            Self::Full(_) => "free some space and repeat the command; the stored credentials are intact",
            Self::UnboundToken { .. } | Self::MixedTokens { .. } => {
                "assemble the environment again with `assemble_container_env`, once for each container"
            }
            Self::KeyLocked => "give the passphrase, or remove it with `ssh-keygen -p` from a copy of the file",
            Self::KeyType(_) => "use an ed25519, RSA or ECDSA key; `ssh-keygen -t ed25519` makes one",
            Self::ShortKey(_) => "use at least 2048 bits, or an ed25519 key",
            Self::KeyMismatch => "`ssh-keygen -y -f FILE` prints the public key that belongs to a private one",
            _ => return None,
        };
        Some(text.to_owned())
    }

    fn kind(&self) -> Kind {
        match self {
            Self::NoPassphrase(_) => Kind::NoPassphrase,
            Self::WrongPassphrase(_) | Self::Rekeyed(_) | Self::Tier { .. } => Kind::WrongPassphrase,
            Self::Absent(_) => Kind::NotFound,
            Self::Plaintext(_) => Kind::PlaintextDb,
            Self::Corrupt(_) => Kind::VaultCorrupt,
            Self::Busy(_) => Kind::VaultBusy,
            Self::ReadOnly(_) | Self::Full(_) | Self::Io { .. } => Kind::Os,
            Self::Scope { .. } => Kind::InvalidScope,
            Self::Comment(_) => Kind::UnsafeComment,
            Self::KeyLocked | Self::KeyPassphrase => Kind::KeyLocked,
            Self::KeyMismatch => Kind::KeyMismatch,
            Self::KeyAbsent(_) => Kind::NotFound,
            Self::KeyExists(_) => Kind::Exists,
            Self::EmptyPassphrase
            | Self::Encrypted(_)
            | Self::KeyType(_)
            | Self::KeyFile { .. }
            | Self::ShortKey(_)
            | Self::NoKey { .. }
            | Self::UnboundToken { .. }
            | Self::MixedTokens { .. }
            | Self::KeyName(_) => Kind::Value,
            Self::Seal { .. } | Self::Closed | Self::Crypto(_) | Self::Database { .. } | Self::Record { .. } => {
                Kind::Runtime
            }
        }
    }
}
