//! How a database file begins, learnt without harm to the locks on it.
//!
//! Invariant: a database that may be open in this process is never opened and closed by anything but SQLite. Closing any
//! descriptor of a file drops every lock that the process has on it; another process would then take an open store for
//! gone, and remove the write-ahead log from under it: what is written afterwards nobody else sees.

use std::io;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, ffi};
use rustix::fs::{Access, AtFlags, CWD};

const PLAIN: &[u8; 16] = b"SQLite format 3\0";

/// True when the file begins as an unencrypted database does.
///
/// # Errors
/// The operating system's, for a file that is missing or cannot be read.
pub fn is_plain(path: &Path) -> io::Result<bool> {
    if std::fs::metadata(path)?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    rustix::fs::accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(io::Error::other)?;
    first_bytes(&connection).map(|found| found == *PLAIN)
}

/// Read by SQLite's own descriptor, as they lie on the disk; zeros where the file is shorter.
fn first_bytes(connection: &Connection) -> io::Result<[u8; PLAIN.len()]> {
    let mut bytes = [0_u8; PLAIN.len()];
    let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
    let wanted = ffi::SQLITE_FCNTL_FILE_POINTER;
    // SAFETY: the connection outlives the pointer to its file, which the call fills in; the method table of an open file
    // is complete, and the buffer has as many bytes as are asked for.
    let code = unsafe {
        ffi::sqlite3_file_control(connection.handle(), c"main".as_ptr(), wanted, (&raw mut file).cast());
        let methods = file.as_ref().and_then(|file| file.pMethods.as_ref());
        let read = methods.and_then(|methods| methods.xRead);
        read.map(|read| read(file, bytes.as_mut_ptr().cast(), bytes.len() as i32, 0))
    };
    match code {
        Some(ffi::SQLITE_OK | ffi::SQLITE_IOERR_SHORT_READ) => Ok(bytes),
        _ => Err(io::Error::other("the database's first bytes cannot be read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use base::secret::Secret;
    use serde_json::Map;
    use std::process::Command;

    const PLACE: &str = "TEROK_TEST_VAULT";
    const EXPECTED: &str = "TEROK_TEST_PROVIDERS";

    /// What another process sees in the vault; by itself it does nothing.
    #[test]
    fn an_opener_elsewhere() {
        let Some(path) = std::env::var_os(PLACE) else { return };
        let store = Store::open(Path::new(&path), &Secret::new("x")).unwrap();
        assert_eq!(store.list_credentials("s").unwrap().join(" "), std::env::var(EXPECTED).unwrap());
    }

    #[test]
    fn a_second_look_leaves_the_locks_of_an_open_store_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let elsewhere = |expected: &str| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "header::tests::an_opener_elsewhere"]).env(PLACE, &path).env(EXPECTED, expected);
            assert!(command.output().unwrap().status.success(), "another process does not see `{expected}`");
        };
        let open = || Store::open(&path, &Secret::new("x")).unwrap();
        let store = open();
        store.store_credential("s", "one", &Map::new()).unwrap();
        drop(open());
        assert!(!is_plain(&path).unwrap());
        elsewhere("one");
        assert!(dir.path().join("db-wal").exists(), "the log belongs to a store that is open");
        store.store_credential("s", "two", &Map::new()).unwrap();
        elsewhere("one two");
    }

    #[test]
    fn every_kind_of_file_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        Connection::open(at("plain")).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        std::fs::write(at("garbage"), [7; 5000]).unwrap();
        std::fs::write(at("short"), &PLAIN[..9]).unwrap();
        std::fs::write(at("empty"), "").unwrap();
        Store::open(&at("sealed"), &Secret::new("x")).unwrap();
        assert!(is_plain(&at("plain")).unwrap());
        for name in ["garbage", "short", "empty", "sealed"] {
            assert!(!is_plain(&at(name)).unwrap(), "{name}");
        }
        assert_eq!(is_plain(&at("missing")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(is_plain(dir.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }
}
