//! A base image without a registry: Debian from its own packages.
//!
//! What the shared layer would install later is put in right away, so that the layers above cost little time. Works as
//! root and as a plain user with subordinate ids. The archive is temporary; an image that is there already is kept.

use std::process::Command;
use std::time::Instant;

use podman::Podman;
use serde::Deserialize;

use crate::ImageError;
use crate::pipeline::require;
use crate::runner::{self, Output, Stopped};

/// Repository of the images made here.
pub const REPOSITORY: &str = "localhost/terok-base";
/// The image made here.
pub const IMAGE: &str = "localhost/terok-base:debian-13";

const SUITE: &str = "trixie";
const PACKAGES: &str = "ca-certificates,curl,gnupg,git,openssh-client,openssh-server,socat,sudo,ripgrep,vim,tmux,tzdata,\
locales,less,procps,iproute2,python3,python3-pip,python3-venv,python-is-python3,pipx,fd-find,jq,unzip,wget";

/// What to make.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BaseImageRequest {
    /// Package source, for example a mirror; nothing for the distribution's usual one.
    pub mirror: Option<String>,
    /// Make it again although it is there.
    pub rebuild: bool,
}

/// Makes [`IMAGE`] unless it is there; its name.
///
/// # Errors
/// [`ImageError::PodmanMissing`], [`ImageError::BootstrapMissing`], [`ImageError::NoSpace`], [`ImageError::Bootstrap`],
/// [`ImageError::Interrupted`].
pub fn make_base(
    podman: &Podman,
    request: &BaseImageRequest,
    output: &mut Output<'_>,
) -> Result<&'static str, ImageError> {
    require(podman)?;
    if !request.rebuild && podman.image_exists(IMAGE) {
        return Ok(IMAGE);
    }
    if !runner::on_path("mmdebstrap".as_ref()) {
        return Err(ImageError::BootstrapMissing("mmdebstrap"));
    }
    let folder = tempfile::Builder::new().prefix("terok-base-").tempdir_in(roomy_folder());
    let folder = folder.map_err(|source| ImageError::Run { program: "mmdebstrap".into(), source })?;
    let archive = folder.path().join("base.tar");
    let started = Instant::now();
    output.line(&format!("making base image {IMAGE} from the packages of Debian {SUITE}"))?;
    step(mmdebstrap(&archive.to_string_lossy(), request.mirror.as_deref()), output)?;
    let mut import = Command::new(podman.program());
    import.args(["import", "--quiet", "-c", "CMD [\"/bin/bash\"]"]);
    import.args(["-c", "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]);
    import.arg(&archive).arg(IMAGE);
    step(import, output)?;
    output.line(&format!("made {IMAGE} in {:.0} s", started.elapsed().as_secs_f64()))?;
    Ok(IMAGE)
}

/// The archive is a third of a gigabyte: not for a memory file system.
fn roomy_folder() -> std::path::PathBuf {
    match std::env::var_os("TMPDIR") {
        Some(folder) => folder.into(),
        None if std::path::Path::new("/var/tmp").is_dir() => "/var/tmp".into(),
        None => std::env::temp_dir(),
    }
}

fn mmdebstrap(archive: &str, mirror: Option<&str>) -> Command {
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=minbase", &format!("--include={PACKAGES}")]);
    for rule in [
        "path-exclude=/usr/share/man/*",
        "path-exclude=/usr/share/info/*",
        "path-exclude=/usr/share/locale/*",
        "path-exclude=/usr/share/doc/*",
        "path-include=/usr/share/doc/*/copyright",
    ] {
        command.arg(format!("--dpkgopt={rule}"));
    }
    // Keys of an sshd belong to one container, package lists grow old.
    command.arg("--customize-hook=rm -rf \"$1\"/etc/ssh/ssh_host_* \"$1\"/var/lib/apt/lists/*");
    command.args([SUITE, archive]);
    command.args(mirror);
    command
}

fn step(command: Command, output: &mut Output<'_>) -> Result<(), ImageError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let ended = runner::run(command, output).map_err(|stopped| match stopped {
        Stopped::GivenUp => ImageError::Interrupted(IMAGE.to_owned()),
        Stopped::Io(source) => ImageError::Run { program: program.clone(), source },
    })?;
    if ended.code == 0 {
        return Ok(());
    }
    match runner::explain(IMAGE, &ended) {
        full @ ImageError::NoSpace { .. } => Err(full),
        ImageError::Failed { complaint, .. }
        | ImageError::Network { complaint, .. }
        | ImageError::Registry { complaint, .. } => {
            Err(ImageError::Bootstrap { tag: IMAGE.to_owned(), complaint: format!("{program}: {complaint}") })
        }
        other => Err(other),
    }
}
