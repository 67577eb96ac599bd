//! Reads in podman's words why it refused a launch, so that the next step can be named.
//!
//! The texts are those of podman 4.3 to 5.8 and of crun and runc; what is not recognised stays podman's own word.

/// A recognised reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The GPU devices are not configured.
    Gpu,
    /// The container name is taken.
    NameInUse(String),
    /// The image is not there.
    ImageMissing(String),
    /// No subordinate uids or gids.
    SubordinateIds,
    /// The file system is full.
    NoSpace,
    /// The OCI runtime is not installed.
    RuntimeMissing,
    /// A hook of ours refused the container.
    HookRefused,
    /// Podman is older than what we need.
    TooOld(String),
    /// The program does not exist in the image.
    CommandMissing,
    /// A published port is taken.
    PortInUse,
    /// Something else.
    Unknown,
}

impl Cause {
    /// The reason in `stderr`, for a launch of `name` from `image`.
    pub fn read(stderr: &str, name: &str, image: &str) -> Self {
        let lower = stderr.to_lowercase();
        let has = |needle: &str| lower.contains(needle);
        if ["cdi.k8s.io", "nvidia.com/gpu", "CDI"].iter().any(|mark| stderr.contains(mark)) {
            return Self::Gpu;
        }
        if has("is already in use") && has("name") {
            return Self::NameInUse(name.to_owned());
        }
        if [
            "no subuid ranges",
            "no subgid ranges",
            "not enough unused id",
            "newuidmap",
            "newgidmap",
            "subuid",
            "subgid",
        ]
        .iter()
        .any(|mark| has(mark))
            || has("insufficient uids or gids")
        {
            return Self::SubordinateIds;
        }
        if has("no space left on device") || has("disk quota exceeded") {
            return Self::NoSpace;
        }
        if has("unknown option specified: \"uid") || has("unknown flag") {
            return Self::TooOld(first_line(stderr));
        }
        if has("oci runtime \"") && has("not found") || has("default oci runtime") {
            return Self::RuntimeMissing;
        }
        if has("hook") && (has("error executing hook") || has("running") || has("exit code")) {
            return Self::HookRefused;
        }
        if has("executable file") && has("not found in $path") {
            return Self::CommandMissing;
        }
        if has("address already in use") || has("port is already allocated") {
            return Self::PortInUse;
        }
        if ["image not known", "initializing source docker", "short-name", "manifest unknown", "image not found"]
            .iter()
            .any(|mark| has(mark))
        {
            return Self::ImageMissing(image.to_owned());
        }
        Self::Unknown
    }

    /// Stable identifier.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Gpu => "launch-gpu",
            Self::NameInUse(_) => "launch-name-in-use",
            Self::ImageMissing(_) => "launch-image-missing",
            Self::SubordinateIds => "launch-subordinate-ids",
            Self::NoSpace => "launch-no-space",
            Self::RuntimeMissing => "launch-runtime-missing",
            Self::HookRefused => "launch-hook-refused",
            Self::TooOld(_) => "launch-podman-too-old",
            Self::CommandMissing => "launch-command-missing",
            Self::PortInUse => "launch-port-in-use",
            Self::Unknown => "launch-refused",
        }
    }

    /// The next step.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Gpu => {
                "install the NVIDIA container toolkit and write a CDI specification: `nvidia-ctk cdi generate \
                 --output=/etc/cdi/nvidia.yaml` (https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/)"
                    .into()
            }
            Self::NameInUse(name) => crate::fault::name_in_use(name),
            Self::ImageMissing(image) => {
                format!("build or load the image `{image}` first; `podman images` lists what is there")
            }
            Self::SubordinateIds => {
                "give the user subordinate ids and let podman read them: `usermod --add-subuids 100000-165535 \
                 --add-subgids 100000-165535 $USER && podman system migrate` (package uidmap)"
                    .into()
            }
            Self::NoSpace => "free space, for example with `podman system prune`".into(),
            Self::RuntimeMissing => "install the OCI runtime, for example `apt install crun`".into(),
            Self::HookRefused => "look into the supervisor's log named above, then run `terok-executor setup`".into(),
            Self::TooOld(_) => "podman 4.3 or newer is needed; `podman --version` tells yours".into(),
            Self::CommandMissing => "the image does not contain this program; was it built for this launcher?".into(),
            Self::PortInUse => "choose another port, or end the program that listens there".into(),
            Self::Unknown => return None,
        })
    }
}

fn first_line(text: &str) -> String {
    base::text::sanitize_tty(text.lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let table: Vec<(String, String)> =
            serde_json::from_str(include_str!("../../tests/fixtures/sandbox/causes.json")).unwrap();
        assert!(table.len() > 10);
        for (stderr, code) in table {
            assert_eq!(Cause::read(&stderr, "c1", "i").code(), code, "{stderr}");
        }
    }
}
