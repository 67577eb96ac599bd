//! The argument list of a build, in its fixed order.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// One build.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Build {
    /// The Dockerfile.
    pub dockerfile: PathBuf,
    /// The context.
    pub context: PathBuf,
    /// The image's name.
    pub tag: String,
    /// Further names.
    pub extra_tags: Vec<String>,
    /// Build arguments in order.
    pub build_args: Vec<(String, String)>,
    /// Labels in order.
    pub labels: Vec<(String, String)>,
    /// Do every step anew.
    pub no_cache: bool,
    /// Fetch the base image even when it is here.
    pub pull_always: bool,
}

/// Namespaces of the steps of a build, whatever the site's defaults are.
const NAMESPACES: [&str; 5] =
    ["--pid=private", "--ipc=private", "--uts=private", "--cgroupns=private", "--network=private"];

impl Build {
    /// The arguments after the program's name.
    pub fn argv(&self) -> Vec<String> {
        let path = |p: &Path| p.to_string_lossy().into_owned();
        let mut argv = vec!["build".to_owned(), "-f".to_owned(), path(&self.dockerfile)];
        argv.extend(NAMESPACES.map(str::to_owned));
        let pairs = |argv: &mut Vec<String>, flag: &str, pairs: &[(String, String)]| {
            argv.extend(pairs.iter().flat_map(|(key, value)| [flag.to_owned(), format!("{key}={value}")]));
        };
        pairs(&mut argv, "--build-arg", &self.build_args);
        pairs(&mut argv, "--label", &self.labels);
        for tag in std::iter::once(&self.tag).chain(&self.extra_tags) {
            argv.extend(["-t".to_owned(), tag.clone()]);
        }
        if self.no_cache {
            argv.push("--no-cache".to_owned());
        }
        if self.pull_always {
            argv.push("--pull=always".to_owned());
        }
        argv.push(path(&self.context));
        argv
    }
}
