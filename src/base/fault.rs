//! What every room's error type has in common: a stable code, a hint for the reader, an exit status and a class.
//!
//! The message of an error (its `Display`) says what could not be done, to which object, and why; the hint says what
//! to do next and is printed on a line of its own. The class decides which Python exception a caller sees.

/// Which kind of trouble an error is, as callers in Python tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The user asked for something that cannot be; ends as `SystemExit(text)`.
    Usage,
    /// An argument is out of its domain: `ValueError`.
    Value,
    /// An argument has the wrong type: `TypeError`.
    Type,
    /// An operation failed: `RuntimeError`.
    Runtime,
    /// Time ran out: `TimeoutError`.
    Timeout,
    /// A program or file does not exist: `FileNotFoundError`.
    NotFound,
    /// A file exists already: `FileExistsError`.
    Exists,
    /// The operating system refused: `OSError`.
    Os,
    /// A looked-up key does not exist: `KeyError`.
    Key,
    /// An image could not be built or a launch could not be prepared: `BuildError`.
    Build,
    /// The GPU could not be handed to the container: `GpuConfigError`.
    Gpu,
    /// No passphrase tier yields a passphrase: `NoPassphraseError`.
    NoPassphrase,
    /// A passphrase does not open the vault: `WrongPassphraseError`.
    WrongPassphrase,
    /// The vault file is not encrypted: `PlaintextDBFoundError`.
    PlaintextDb,
    /// The vault is in use by somebody else: `VaultBusyError`.
    VaultBusy,
    /// The vault file is damaged: `VaultCorruptError`.
    VaultCorrupt,
    /// A credential scope is not well formed: `InvalidScopeName`.
    InvalidScope,
    /// A key comment is not safe to print: `UnsafeCommentError`.
    UnsafeComment,
    /// A private key needs a passphrase, or another one: `PasswordProtectedKeyError`.
    KeyLocked,
    /// A public key does not belong to a private key: `KeypairMismatchError`.
    KeyMismatch,
    /// A shared agent configuration could not be patched: `ConfigPatchError`.
    ConfigPatch,
}

/// The contract of every room's error enum.
pub trait Fault: std::error::Error {
    /// Stable kebab-case identifier of the failed operation.
    fn code(&self) -> &'static str;

    /// What the reader can do about it, or nothing when there is nothing to say.
    fn hint(&self) -> Option<String> {
        None
    }

    /// Exit status of a command that ends with this error.
    fn exit_code(&self) -> u8 {
        1
    }

    /// The class of the error.
    fn kind(&self) -> Kind {
        Kind::Runtime
    }
}

/// The full text of an error for a person: the message with its causes, then the hint on a line of its own.
pub fn explain(fault: &dyn Fault) -> String {
    let mut text = fault.to_string();
    let mut cause = std::error::Error::source(fault);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    if let Some(hint) = fault.hint() {
        text.push_str("\nhint: ");
        text.push_str(&hint);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read `{0}`")]
    struct Broken(String, #[source] std::io::Error);

    impl Fault for Broken {
        fn code(&self) -> &'static str {
            "broken"
        }
        fn hint(&self) -> Option<String> {
            Some("look again".into())
        }
    }

    #[test]
    fn explanation_has_causes_and_hint() {
        let fault = Broken("x".into(), std::io::Error::other("gone"));
        assert_eq!(explain(&fault), "cannot read `x`: gone\nhint: look again");
        assert_eq!((fault.exit_code(), fault.kind()), (1, Kind::Runtime));
    }
}
