//! Links the supervisor's executables against the static OpenSSL and unwinder where the system has them.
//!
//! The OCI hook is executed at every start of a container; loading shared libraries would be most of its time.
//! Without the archives (or with `OPENSSL_NO_STATIC` set) the shared ones are used, which only costs time.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-env-changed=OPENSSL_NO_STATIC");
    println!("cargo:rerun-if-env-changed=OPENSSL_LIB_DIR");
    if std::env::var_os("OPENSSL_NO_STATIC").is_some() {
        return;
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // A directory with nothing but archives: `-lcrypto` and its like find them there before any shared library. Of libssl
    // nothing is used, but its binding asks for it, and the shared one would bring the shared libcrypto along.
    let archives =
        [("libssl.a", openssl("libssl.a")), ("libcrypto.a", openssl("libcrypto.a")), ("libgcc_s.a", unwinder())];
    let linked = archives.map(|(name, archive)| {
        let link = out.join(name);
        let _ = std::fs::remove_file(&link);
        archive.is_some_and(|archive| std::os::unix::fs::symlink(archive, link).is_ok())
    });
    if linked.contains(&true) {
        println!("cargo:rustc-link-search=native={}", out.display());
    }
}

/// The unwinder of the C compiler, which is otherwise a shared library of its own.
fn unwinder() -> Option<PathBuf> {
    let answer = std::process::Command::new("cc").arg("-print-file-name=libgcc_eh.a").output().ok()?;
    let path = PathBuf::from(String::from_utf8(answer.stdout).ok()?.trim());
    path.is_absolute().then_some(path).filter(|path| path.is_file())
}

fn openssl(name: &str) -> Option<PathBuf> {
    let given = std::env::var_os("OPENSSL_LIB_DIR").map(PathBuf::from);
    let triplet = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let usual = [triplet.as_str(), "/usr/lib64", "/usr/lib"].map(Path::new).map(Path::to_path_buf);
    given.into_iter().chain(usual).map(|dir| dir.join(name)).find(|path| path.is_file())
}
