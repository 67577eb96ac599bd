//! What can go wrong with images, and what to do about it.

use std::path::PathBuf;

use base::fault::{Fault, Kind};

/// A failed operation of this room.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Podman cannot be found.
    #[error("podman not found: `{0}` is not on PATH")]
    PodmanMissing(String),
    /// A podman call other than the build failed.
    #[error("cannot ask podman about images")]
    Podman(#[source] podman::PodmanError),
    /// The name of a base image has no valid form.
    #[error("invalid base image `{image}`: {why}")]
    BadBase {
        /// The name, made printable.
        image: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The package family is unknown and cannot be guessed.
    #[error("Cannot infer package family of base image `{0}`; set `family: deb` or `family: rpm`")]
    UnknownFamily(String),
    /// The given package family is none.
    #[error("invalid package family `{0}`: it must be `deb` or `rpm`")]
    BadFamily(String),
    /// The selection names entries that cannot be installed.
    #[error("Unknown roster entries: {unknown} (available: {available})")]
    UnknownEntries {
        /// The names.
        unknown: String,
        /// What could be named.
        available: String,
    },
    /// A dependency has no recipe.
    #[error("roster entry `{entry}` depends on `{dependency}`, which cannot be installed")]
    BadDependency {
        /// Who depends.
        entry: String,
        /// On what.
        dependency: String,
    },
    /// A selection is a text other than `all`.
    #[error("a selection must be 'all' or a tuple of names, not the text `{0}`")]
    SelectionType(String),
    /// The given build directory cannot be used.
    #[error("build directory `{path}` {why}")]
    BuildDir {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A Dockerfile could not be rendered.
    #[error("cannot render the Dockerfile of `{what}`")]
    Render {
        /// Layer or entry.
        what: String,
        /// The template engine's reason.
        #[source]
        source: minijinja::Error,
    },
    /// The files of a build could not be written.
    #[error("cannot prepare the build of `{tag}` in `{path}`")]
    Context {
        /// The image.
        tag: String,
        /// The context directory.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Files could not be laid out for a caller.
    #[error("cannot write `{path}`")]
    Stage {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A value of a project cannot stand in a Dockerfile.
    #[error("`{key}` of project `{project}` contains control characters")]
    ProjectValue {
        /// The project.
        project: String,
        /// The configuration key.
        key: &'static str,
    },
    /// The file with a project's own instructions does not exist.
    #[error("user snippet file `{path}` of project `{project}` not found")]
    SnippetMissing {
        /// The project.
        project: String,
        /// The file.
        path: PathBuf,
    },
    /// The file with a project's own instructions cannot be used.
    #[error("cannot read user snippet file `{path}` of project `{project}`")]
    SnippetUnreadable {
        /// The project.
        project: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A project's own instructions would swallow what comes after them.
    #[error("`{key}` of project `{project}` ends in the middle of an instruction: its last line ends with a backslash")]
    SnippetOpen {
        /// The project.
        project: String,
        /// The configuration key.
        key: &'static str,
    },
    /// A project's build files could not be written.
    #[error("cannot write the build files of project `{project}` in `{path}`")]
    ProjectFiles {
        /// The project.
        project: String,
        /// Their directory.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Somebody else has been writing a project's build files for too long.
    #[error("another process is writing the build files of project `{project}` in `{path}`")]
    ProjectBusy {
        /// The project.
        project: String,
        /// Their directory.
        path: PathBuf,
    },
    /// The record of a build could not be written.
    #[error("the images are built, but the record of the build cannot be written to `{path}`")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A version was given for something the image does not install.
    #[error("no recipe of this image has a version called `{name}` (it has: {known})")]
    UnknownVersion {
        /// The name that was given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A version or a build argument has no valid form.
    #[error("invalid version `{value}` of `{name}`")]
    BadVersion {
        /// Its name.
        name: String,
        /// The value, made printable.
        value: String,
    },
    /// An entry that was asked for by name needs a newer Python than the base has.
    #[error("`{entry}` needs Python {needed} or newer, but base image `{base}` has {found}")]
    OldPython {
        /// The roster entry.
        entry: String,
        /// What it needs.
        needed: String,
        /// The base image.
        base: String,
        /// What the base has.
        found: String,
    },
    /// A sidecar tool for which no registry offers a program.
    #[error("tool `{0}` cannot be installed: no package registry offers its program")]
    ToolUnsupported(String),
    /// The name of a sidecar tool has no valid form.
    #[error("invalid tool name `{0}`")]
    BadTool(String),
    /// The build ran out of disk space.
    #[error("Image build failed: no space left on device while building `{tag}` (rc={code})")]
    NoSpace {
        /// The image.
        tag: String,
        /// Exit status.
        code: i32,
    },
    /// The base image could not be fetched.
    #[error("Image build failed: base image of `{tag}` could not be fetched (rc={code}): {complaint}")]
    Registry {
        /// The image.
        tag: String,
        /// Exit status.
        code: i32,
        /// The last line podman printed about it.
        complaint: String,
    },
    /// A package registry did not answer during the build.
    #[error(
        "Image build failed: a package registry could not be reached while building `{tag}` (rc={code}): {complaint}"
    )]
    Network {
        /// The image.
        tag: String,
        /// Exit status.
        code: i32,
        /// The line that says so.
        complaint: String,
    },
    /// Any other failure of a build.
    #[error("Image build failed: `{tag}` (rc={code}): {complaint}")]
    Failed {
        /// The image.
        tag: String,
        /// Exit status.
        code: i32,
        /// The last line podman printed.
        complaint: String,
    },
    /// A program could not be run or its output could not be passed on.
    #[error("cannot run `{program}`")]
    Run {
        /// The program.
        program: String,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The caller broke a build off.
    #[error("the build of `{0}` was interrupted")]
    Interrupted(String),
    /// The program that makes base images is missing.
    #[error("cannot make a base image: `{0}` is not installed")]
    BootstrapMissing(&'static str),
    /// The base image could not be made.
    #[error("cannot make base image `{tag}`: {complaint}")]
    Bootstrap {
        /// The image.
        tag: String,
        /// What the failed step printed last.
        complaint: String,
    },
}

impl Fault for ImageError {
    fn code(&self) -> &'static str {
        match self {
            Self::PodmanMissing(_) => "podman-missing",
            Self::Podman(_) => "podman-call",
            Self::BadBase { .. } => "base-invalid",
            Self::UnknownFamily(_) => "family-unknown",
            Self::BadFamily(_) => "family-invalid",
            Self::UnknownEntries { .. } => "entry-unknown",
            Self::BadDependency { .. } => "entry-dependency",
            Self::SelectionType(_) => "selection-type",
            Self::BuildDir { .. } => "build-dir",
            Self::Render { .. } => "render",
            Self::Context { .. } => "build-context",
            Self::Stage { .. } => "stage",
            Self::ProjectValue { .. } => "project-value",
            Self::SnippetMissing { .. } => "snippet-missing",
            Self::SnippetUnreadable { .. } => "snippet-unreadable",
            Self::SnippetOpen { .. } => "snippet-open",
            Self::ProjectFiles { .. } => "project-files",
            Self::ProjectBusy { .. } => "project-busy",
            Self::Manifest { .. } => "build-manifest",
            Self::UnknownVersion { .. } => "version-unknown",
            Self::BadVersion { .. } => "version-invalid",
            Self::OldPython { .. } => "python-too-old",
            Self::ToolUnsupported(_) => "tool-unsupported",
            Self::BadTool(_) => "tool-invalid",
            Self::NoSpace { .. } => "no-space",
            Self::Registry { .. } => "registry-unreachable",
            Self::Network { .. } => "network",
            Self::Failed { .. } => "build-failed",
            Self::Run { .. } => "run",
            Self::Interrupted(_) => "interrupted",
            Self::BootstrapMissing(_) => "bootstrap-missing",
            Self::Bootstrap { .. } => "bootstrap",
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::PodmanMissing(_) => "install podman with the package manager of your system".into(),
            Self::UnknownFamily(_) => {
                "set `family: deb` or `family: rpm` under `image:` in project.yml, or pass --family".into()
            }
            Self::OldPython { entry, .. } => {
                format!("take a base image with a newer Python, or leave it out of the selection: `-{entry}`")
            }
            Self::ToolUnsupported(_) => "pass the path of its program for this system".into(),
            Self::NoSpace { .. } => "make room, for example with `podman system prune`, and build again".into(),
            Self::Registry { .. } => {
                "check the name of the base image and the network; without a registry, make a base \
                 image from distribution packages: `terok-executor build --from-packages`"
                    .into()
            }
            Self::Network { .. } => {
                "check the network and its proxy; where TLS is inspected, `image.trust_host_ca` has to be on".into()
            }
            Self::ProjectValue { key, .. } => format!("correct `{key}` in its project.yml"),
            Self::SnippetMissing { .. } | Self::SnippetUnreadable { .. } => {
                "correct `image.user_snippet_file` in its project.yml, or put a readable text file there".into()
            }
            Self::SnippetOpen { .. } => "finish the instruction, or remove the backslash".into(),
            Self::ProjectBusy { .. } => "try again when it is through".into(),
            Self::ProjectFiles { source, .. } | Self::Manifest { source, .. } => written(source)?.into(),
            Self::BootstrapMissing(program) => {
                format!("install it: {}", base::text::command_line(["apt-get", "install", program]))
            }
            _ => return None,
        })
    }

    fn kind(&self) -> Kind {
        match self {
            Self::UnknownEntries { .. } | Self::BadDependency { .. } | Self::BuildDir { .. } => Kind::Value,
            Self::UnknownVersion { .. } | Self::BadVersion { .. } => Kind::Value,
            Self::SelectionType(_) => Kind::Type,
            Self::Stage { .. } => Kind::Os,
            Self::ProjectValue { .. } | Self::SnippetMissing { .. } | Self::SnippetUnreadable { .. } => Kind::Usage,
            Self::SnippetOpen { .. } | Self::ProjectFiles { .. } | Self::ProjectBusy { .. } => Kind::Usage,
            Self::Manifest { .. } => Kind::Usage,
            _ => Kind::Build,
        }
    }
}

/// What to do when a file of ours could not be written.
fn written(error: &std::io::Error) -> Option<&'static str> {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Some("make room, for example with `terok image cleanup`, and try again")
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Some("make the directory writable, or set another one as `paths.build_dir` in config.yml")
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => Some("move away the file that is in the way"),
        _ => None,
    }
}
