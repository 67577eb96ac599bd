//! The podman that launches: it reads our own configuration, made from the site's.
//!
//! Invariants: the file is private and lies below the state directory, because podman's cleanup of a container reads it
//! again when the container ends; podman's other commands keep the site's configuration.

use std::path::{Path, PathBuf};

use podman::conffile::{ConfFiles, Rules};
use podman::launchconf::{Effect, LaunchConf, Setting};
use podman::{Podman, Settings};

use crate::fault::LaunchError;
use crate::spec::Place;

/// Lists of host directories that podman copies into every container.
const MOUNTS: &str = "mounts.conf";

/// The podman for launches, and the site's settings that matter to containers.
///
/// # Errors
/// [`LaunchError::Site`] for a configuration that podman refuses as well, [`LaunchError::Io`] when ours cannot be
/// written.
pub fn launcher(place: &Place, podman: &Podman) -> Result<(Podman, Vec<Setting>), LaunchError> {
    let version = podman.cached_info(&place.runtime_dir).map_or((0, 0), |info| info.version_pair());
    let files = ConfFiles::detect(Rules::of(version));
    let conf = LaunchConf::read(&files).map_err(LaunchError::Site)?;
    let path = conf_path(place);
    conf.write(&path).map_err(LaunchError::io("write", &path))?;
    let mut settings = conf.settings().to_vec();
    if let Some(file) = mounts_file(&files.own) {
        settings.push(Setting { key: MOUNTS.into(), file, effect: Effect::WeakensRestart });
    }
    Ok((podman.clone().with(Settings { conf: Some(path), globals: globals(&settings) }), settings))
}

/// Options of podman itself that keep settings out of a launch.
pub fn globals(settings: &[Setting]) -> Vec<String> {
    let copies = settings.iter().any(|setting| setting.key == MOUNTS);
    copies.then(|| "--default-mounts-file=/dev/null".to_owned()).into_iter().collect()
}

/// Where the configuration of launches is stored.
pub fn conf_path(place: &Place) -> PathBuf {
    place.state_dir.join("podman").join("containers.conf")
}

/// The first list of host directories that podman would find for the owner of this configuration.
fn mounts_file(own: &Path) -> Option<PathBuf> {
    let system = ["/etc/containers/mounts.conf", "/usr/share/containers/mounts.conf"];
    let candidates = std::iter::once(own.with_file_name(MOUNTS)).chain(system.map(PathBuf::from));
    candidates.into_iter().find(|path| path.exists())
}

/// One sentence for each setting of the site that a launch uses and that weakens the container.
pub fn warnings(settings: &[Setting]) -> Vec<String> {
    let weakening = settings.iter().filter(|setting| setting.effect == Effect::Weakens);
    let sentence = |setting: &Setting| {
        let file = base::text::sanitize_tty(&setting.file.to_string_lossy());
        format!("podman's setting `{}` in `{file}` weakens this container", setting.key)
    };
    weakening.map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_that_act_on_launches_are_warned_about() {
        let setting = |key: &str, effect| Setting { key: key.into(), file: "/etc/\u{1b}x".into(), effect };
        let settings = [
            setting("engine.no_pivot_root", Effect::Weakens),
            setting("network.pasta_options", Effect::WeakensRestart),
            setting("containers.volumes", Effect::Ignored),
        ];
        let warnings = warnings(&settings);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("`engine.no_pivot_root`") && !warnings[0].contains('\u{1b}'), "{warnings:?}");
    }

    #[test]
    fn a_list_of_host_directories_beside_the_own_file_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("containers.conf");
        let list = dir.path().join(MOUNTS);
        std::fs::write(&list, "/a:/b\n").unwrap();
        assert_eq!(mounts_file(&own), Some(list));
    }
}
