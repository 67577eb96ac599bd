//! The passphrase sealed by systemd: to this host's key, its TPM, or both.
//!
//! Invariants: the program is found once and called by that absolute path; the passphrase goes through pipes, never
//! through arguments; the sealed file is 0600 and appears complete or not at all; a link in the place of the file or of
//! its directory is refused; a file that is there but cannot be opened is an error, never "no passphrase".

use std::ffi::OsString;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use base::process::Run;
use base::secret::Secret;
use base::user;

use crate::error::VaultError;

use super::{LIMIT, answer, varlink};

/// Name embedded in a sealed passphrase.
pub const SEALED_NAME: &str = "terok-sandbox.vault-passphrase";
/// First release that seals for a user.
const NEEDED: u32 = 257;
const SERVICE: &str = "/run/systemd/io.systemd.Credentials";
const ANSWER: Duration = Duration::from_secs(10);
const PROBE: Duration = Duration::from_secs(5);
/// Sealed files are small: the passphrase, a key wrapped for the TPM, base64 around it.
const FILE_LIMIT: u64 = 256 * LIMIT;

/// What a passphrase is sealed to, as `systemd-creds` calls it.
pub const MODES: [&str; 4] = ["auto", "host", "tpm2", "host+tpm2"];

/// The `systemd-creds` of this host.
#[derive(Debug, Clone)]
struct Sealer {
    program: PathBuf,
    service: PathBuf,
}

/// True when something is at the place of the sealed file.
pub fn is_present(file: &Path) -> bool {
    std::fs::symlink_metadata(file).is_ok_and(|meta| meta.is_file() || meta.is_symlink())
}

/// Why this host cannot seal passphrases; `None` when it can.
pub fn obstacle() -> Option<String> {
    match find() {
        None => Some("`systemd-creds` is not installed".into()),
        Some(sealer) => sealer.obstacle(),
    }
}

/// True when this host has a TPM that `systemd-creds` can use.
pub fn has_tpm2() -> bool {
    find().is_some_and(|s| s.obstacle().is_none() && s.run(["has-tpm2".into()], None, PROBE).is_ok())
}

/// Seals `passphrase` into `file`.
///
/// # Errors
/// [`VaultError::EmptyPassphrase`], [`VaultError::Seal`] or [`VaultError::Io`].
pub fn seal(file: &Path, passphrase: &Secret, mode: &str) -> Result<(), VaultError> {
    if passphrase.is_empty() {
        return Err(VaultError::EmptyPassphrase);
    }
    let sealer = find().ok_or_else(|| seal_error("`systemd-creds` is not installed".into()))?;
    sealer.seal(file, passphrase, mode)
}

/// Opens a sealed file.
///
/// # Errors
/// [`VaultError::Tier`] whatever the reason.
pub fn unseal(file: &Path) -> Result<Secret, VaultError> {
    let fail = |why: String| VaultError::Tier { tier: "systemd-creds", why };
    let sealer = find().ok_or_else(|| fail("`systemd-creds` is not installed".into()))?;
    let outer = (user::effective_uid() == 0 && !user::is_really_root()).then(user::host_uid);
    sealer.unseal(file, outer).map_err(fail)
}

/// Removes a sealed file; false when there was none.
///
/// # Errors
/// [`VaultError::Io`].
pub fn forget(file: &Path) -> Result<bool, VaultError> {
    match std::fs::remove_file(file) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(VaultError::Io { doing: "remove the sealed passphrase", path: file.into(), source }),
    }
}

fn seal_error(why: String) -> VaultError {
    VaultError::Seal { why }
}

/// The program is looked up once, so that a later change of `PATH` cannot put another in its place.
fn find() -> Option<&'static Sealer> {
    static FOUND: OnceLock<Option<Sealer>> = OnceLock::new();
    FOUND.get_or_init(|| Sealer::on_path(&std::env::var_os("PATH")?)).as_ref()
}

impl Sealer {
    fn on_path(path: &OsString) -> Option<Self> {
        let places = std::env::split_paths(path).filter(|place| place.is_absolute());
        let program = places.map(|place| place.join("systemd-creds")).find(|p| is_program(p))?;
        Some(Self { program, service: SERVICE.into() })
    }

    fn obstacle(&self) -> Option<String> {
        let version = match self.run(["--version".into()], None, PROBE) {
            Ok(text) => first_number(&String::from_utf8_lossy(&text)),
            Err(why) => return Some(why),
        };
        match version {
            Some(version) if version >= NEEDED => {}
            Some(version) => return Some(format!("systemd is too old: {version}, and {NEEDED} is needed")),
            None => return Some("`systemd-creds --version` shows no number".into()),
        }
        let service = std::fs::metadata(&self.service);
        if service.is_ok_and(|meta| meta.file_type().is_socket()) {
            return None;
        }
        Some(format!("the credential service does not listen at `{}`", self.service.display()))
    }

    fn seal(&self, file: &Path, passphrase: &Secret, mode: &str) -> Result<(), VaultError> {
        if let Some(why) = self.obstacle() {
            return Err(seal_error(why));
        }
        refuse_links(file)?;
        let words = ["encrypt", "--user", &format!("--name={SEALED_NAME}"), &format!("--with-key={mode}"), "-", "-"]
            .map(OsString::from);
        let blob = self.run(words, Some(passphrase), ANSWER).map_err(seal_error)?;
        if blob.is_empty() {
            return Err(seal_error("`systemd-creds` printed nothing".into()));
        }
        base::file::write_private(file, &blob).map_err(|source| VaultError::Io {
            doing: "write the sealed passphrase",
            path: file.into(),
            source,
        })
    }

    /// `outer` is the user outside when we are root in a user namespace only.
    fn unseal(&self, file: &Path, outer: Option<u32>) -> Result<Secret, String> {
        let sealed = base::file::read_regular(file, FILE_LIMIT)
            .map_err(|error| format!("`{}` cannot be read: {error}", file.display()))?;
        if let Some(uid) = outer {
            return varlink::decrypt(&self.service, SEALED_NAME, &sealed, uid, ANSWER)
                .ok_or_else(|| "the credential service did not unseal the passphrase".into());
        }
        if let Some(why) = self.obstacle() {
            return Err(why);
        }
        let words =
            ["decrypt".into(), "--user".into(), format!("--name={SEALED_NAME}").into(), file.into(), "-".into()];
        let opened = zeroize::Zeroizing::new(self.run::<5>(words, None, ANSWER)?);
        answer(&opened).ok_or_else(|| "the sealed passphrase is empty".into())
    }

    /// Standard output, or the reason in words.
    fn run<const N: usize>(
        &self,
        words: [OsString; N],
        input: Option<&Secret>,
        limit: Duration,
    ) -> Result<Vec<u8>, String> {
        let argv = std::iter::once(self.program.clone().into_os_string()).chain(words);
        let mut run = Run::new(argv).limit(limit);
        if let Some(secret) = input {
            run = run.input(secret.expose());
        }
        let output = run.output().map_err(|error| error.to_string())?;
        if output.ok() {
            return Ok(output.stdout);
        }
        let said = base::text::sanitize_tty(String::from_utf8_lossy(&output.stderr).trim());
        let said = if said.is_empty() { "it said nothing".to_owned() } else { said };
        Err(format!("`systemd-creds` ended with status {}: {said}", output.code))
    }
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn first_number(text: &str) -> Option<u32> {
    let line = text.lines().next()?;
    let digits = line.split(|c: char| !c.is_ascii_digit()).find(|word| !word.is_empty())?;
    digits.parse().ok()
}

/// Neither the file nor any directory above it that exists may be a link.
fn refuse_links(file: &Path) -> Result<(), VaultError> {
    for place in [Some(file), file.parent()].into_iter().flatten() {
        if std::fs::symlink_metadata(place).is_ok_and(|meta| meta.is_symlink()) {
            return Err(seal_error(format!("`{}` is a symbolic link", place.display())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A program that behaves as `systemd-creds` 257 and newer does, as far as we use it: it "seals" to base64. The
    /// real one of the machines that these tests run on is too old to seal for a user.
    const FAKE: &str = r#"#!/bin/sh
here=${0%/*}
echo "$*" >> "$here/calls"
case $1 in
--version) cat "$here/version" ;;
has-tpm2) exit "$(cat "$here/tpm")" ;;
encrypt) [ ! -e "$here/refuse" ] || { echo "no key" >&2; exit 1; }; base64 ;;
decrypt) [ ! -e "$here/refuse" ] || { echo "no key" >&2; exit 1; }; base64 -d < "$4" ;;
esac
"#;

    struct Fake {
        dir: tempfile::TempDir,
        sealer: Sealer,
        _service: std::os::unix::net::UnixListener,
    }

    impl Fake {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let program = dir.path().join("systemd-creds");
            std::fs::write(&program, FAKE).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            std::fs::write(dir.path().join("version"), "systemd 257 (257.4)\n+PAM\n").unwrap();
            let service = dir.path().join("service");
            let listener = std::os::unix::net::UnixListener::bind(&service).unwrap();
            let sealer = Sealer { program, service };
            Self { dir, sealer, _service: listener }
        }

        fn at(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }
    }

    #[test]
    fn sealing_and_opening_are_each_others_inverse() {
        let fake = Fake::new();
        let file = fake.at("deep/vault.passphrase.cred");
        for mode in MODES {
            fake.sealer.seal(&file, &Secret::new(" p w"), mode).unwrap();
            assert_eq!(fake.sealer.unseal(&file, None).unwrap().expose(), " p w");
        }
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(fake.at("deep")).unwrap().permissions().mode() & 0o777, 0o700);
        let calls = std::fs::read_to_string(fake.at("calls")).unwrap();
        assert!(calls.contains("encrypt --user --name=terok-sandbox.vault-passphrase --with-key=host+tpm2 - -\n"));
        assert!(!calls.contains("p w"), "the passphrase is no argument");
    }

    #[test]
    fn an_older_systemd_or_a_missing_service_is_named() {
        let fake = Fake::new();
        assert_eq!(fake.sealer.obstacle(), None);
        for (version, expected) in
            [("systemd 256 (256.9)\n257", "256, and 257"), ("systemd\n257", "no number"), ("", "no number")]
        {
            std::fs::write(fake.at("version"), version).unwrap();
            assert!(fake.sealer.obstacle().unwrap().contains(expected), "{version}");
            let error = fake.sealer.seal(&fake.at("f"), &Secret::new("x"), "auto").unwrap_err();
            assert!(matches!(error, VaultError::Seal { .. }) && !fake.at("f").exists());
        }
        std::fs::write(fake.at("version"), "systemd 258~rc1").unwrap();
        assert_eq!(fake.sealer.obstacle(), None);
        std::fs::remove_file(fake.at("service")).unwrap();
        assert!(fake.sealer.obstacle().unwrap().contains("does not listen"));
    }

    #[test]
    fn links_are_refused_and_a_refusal_keeps_the_old_file() {
        let fake = Fake::new();
        std::fs::create_dir(fake.at("real")).unwrap();
        symlink(fake.at("real"), fake.at("linked")).unwrap();
        symlink(fake.at("real/target"), fake.at("leaf")).unwrap();
        for place in ["linked/f", "leaf"] {
            let error = fake.sealer.seal(&fake.at(place), &Secret::new("x"), "auto").unwrap_err();
            assert!(error.to_string().contains("symbolic link"), "{error}");
        }
        assert!(std::fs::read_dir(fake.at("real")).unwrap().next().is_none());
        assert!(fake.sealer.unseal(&fake.at("leaf"), None).is_err());
        fake.sealer.seal(&fake.at("f"), &Secret::new("old"), "auto").unwrap();
        std::fs::write(fake.at("refuse"), "").unwrap();
        let error = fake.sealer.seal(&fake.at("f"), &Secret::new("new"), "auto").unwrap_err().to_string();
        assert!(error.contains("no key"), "{error}");
        assert!(fake.sealer.unseal(&fake.at("f"), None).unwrap_err().contains("no key"));
        std::fs::remove_file(fake.at("refuse")).unwrap();
        assert_eq!(fake.sealer.unseal(&fake.at("f"), None).unwrap().expose(), "old");
        assert!(matches!(seal(&fake.at("f"), &Secret::new(""), "auto"), Err(VaultError::EmptyPassphrase)));
    }

    #[test]
    fn the_program_is_looked_up_in_absolute_places_only() {
        let fake = Fake::new();
        let path = OsString::from(format!(".:relative:{}:/usr/bin", fake.dir.path().display()));
        assert_eq!(Sealer::on_path(&path).unwrap().program, fake.at("systemd-creds"));
        std::fs::set_permissions(fake.at("systemd-creds"), std::fs::Permissions::from_mode(0o644)).unwrap();
        let only = OsString::from(fake.dir.path());
        assert!(Sealer::on_path(&only).is_none());
    }
}
