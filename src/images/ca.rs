//! Certificates this machine trusts beyond the usual ones.
//!
//! Where a proxy inspects TLS, package registries are reached through it both while an image is built and when an agent
//! works, so the proxy's certificate goes into the image. Certificates are public; private keys are never read: only
//! `CERTIFICATE` blocks are taken. A machine without additions gets images without any trace of this.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Largest file that is looked at, in bytes.
const LARGEST: u64 = 4 << 20;
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// When the host's additional certificates go into images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// When there are any.
    #[default]
    Auto,
    /// As [`Trust::Auto`], and bundles named in the environment as a whole where the usual ones are not known.
    Always,
    /// Never.
    Never,
}

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// File name without suffix, made from its content.
    pub name: String,
    /// The certificate in PEM form, with a newline at its end.
    pub pem: String,
}

/// Where to look.
#[derive(Clone, Debug)]
pub struct Places {
    /// Folders into which an administrator puts certificates.
    pub anchors: Vec<PathBuf>,
    /// Files a variable names in which programs look for certificates instead of the usual place.
    pub bundles: Vec<PathBuf>,
    /// Folder with what the distribution itself ships, to leave that out.
    pub stock: PathBuf,
}

impl Places {
    /// This machine's.
    pub fn host() -> Self {
        let anchors = [
            "/usr/local/share/ca-certificates",
            "/etc/pki/ca-trust/source/anchors",
            "/etc/ca-certificates/trust-source/anchors",
            "/etc/pki/trust/anchors",
        ];
        let named = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT"];
        Self {
            anchors: anchors.iter().map(PathBuf::from).collect(),
            bundles: named.iter().filter_map(std::env::var_os).map(PathBuf::from).collect(),
            stock: PathBuf::from("/usr/share/ca-certificates"),
        }
    }
}

/// The additional certificates, sorted by name. A bundle counts only where the distribution's own certificates are known,
/// since everything in it would look additional otherwise; with [`Trust::Always`] that is accepted.
pub fn additional(trust: Trust, places: &Places) -> Vec<Certificate> {
    if trust == Trust::Never {
        return Vec::new();
    }
    let mut found: Vec<String> = Vec::new();
    for folder in &places.anchors {
        collect(folder, 2, &mut found);
    }
    let mut stock = Vec::new();
    collect(&places.stock, 2, &mut stock);
    let stock: BTreeSet<String> = stock.iter().map(|pem| fingerprint(pem)).collect();
    if !stock.is_empty() || trust == Trust::Always {
        let named = places.bundles.iter().filter(|path| !is_system_bundle(path));
        found.extend(named.flat_map(|path| certificates(path)));
    }
    let mut out: Vec<Certificate> = found
        .into_iter()
        .map(|pem| (fingerprint(&pem), pem))
        .filter(|(print, _)| !stock.contains(print))
        .map(|(print, pem)| Certificate { name: format!("host-{}", &print[..16]), pem })
        .collect();
    out.sort_by(|a, b| a.name.cmp(&b.name));
    out.dedup_by(|a, b| a.name == b.name);
    out
}

/// The distribution's own collection is covered by the anchor folders; an outdated or withdrawn root in it is no addition.
fn is_system_bundle(path: &Path) -> bool {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/ssl/ca-bundle.pem",
    ]
    .iter()
    .any(|known| real == Path::new(known))
}

fn collect(folder: &Path, depth: u8, out: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|e| e.path()) {
        if path.is_dir() {
            if depth > 0 {
                collect(&path, depth - 1, out);
            }
        } else if path.extension().is_some_and(|e| e == "crt" || e == "pem") {
            out.extend(certificates(&path));
        }
    }
}

/// The certificates in a file; none when it cannot be read.
fn certificates(path: &Path) -> Vec<String> {
    let small = fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= LARGEST);
    match fs::read(path) {
        Ok(bytes) if small => split(&String::from_utf8_lossy(&bytes)),
        _ => Vec::new(),
    }
}

fn split(text: &str) -> Vec<String> {
    text.split(BEGIN)
        .skip(1)
        .filter_map(|part| part.split_once(END))
        .map(|(body, _)| {
            let body: Vec<&str> = body.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
            format!("{BEGIN}\n{}\n{END}\n", body.join("\n"))
        })
        .collect()
}

fn fingerprint(pem: &str) -> String {
    let body: String = pem.lines().filter(|l| !l.starts_with("-----")).collect();
    hex::encode(Sha256::digest(body.as_bytes()))
}
