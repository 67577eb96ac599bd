//! Links the supervisor against the static libcrypto where the system has one.
//!
//! The OCI hook is executed at every start of a container; resolving a shared libcrypto would be most of its time.
//! Without the static archive (or with `OPENSSL_NO_STATIC` set) the shared one is used, which only costs time.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-env-changed=OPENSSL_NO_STATIC");
    println!("cargo:rerun-if-env-changed=OPENSSL_LIB_DIR");
    if std::env::var_os("OPENSSL_NO_STATIC").is_some() {
        return;
    }
    let Some(archive) = archive() else { return };
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // A directory with nothing but the archive: `-lcrypto` finds it there before any shared library.
    let link = out.join("libcrypto.a");
    let _ = std::fs::remove_file(&link);
    if std::os::unix::fs::symlink(&archive, &link).is_ok() {
        println!("cargo:rustc-link-search=native={}", out.display());
    }
}

fn archive() -> Option<PathBuf> {
    let given = std::env::var_os("OPENSSL_LIB_DIR").map(PathBuf::from);
    let triplet = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let usual = [triplet.as_str(), "/usr/lib64", "/usr/lib"].map(Path::new).map(Path::to_path_buf);
    given.into_iter().chain(usual).map(|dir| dir.join("libcrypto.a")).find(|path| path.is_file())
}
