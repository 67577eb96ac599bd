//! Writes a container's sidecar: complete, private, and never through a link.

use std::path::PathBuf;

use wire::sidecar::Sidecar;

use crate::fault::LaunchError;
use crate::private;
use crate::spec::Place;

/// Writes the sidecar of `sidecar.container_name` and gives its path; an older one is replaced as a whole.
///
/// # Errors
/// [`LaunchError::Name`] for a name that is not one plain path component, [`LaunchError::Io`].
pub fn write(place: &Place, sidecar: &Sidecar) -> Result<PathBuf, LaunchError> {
    base::ident::check_segment("container name", &sidecar.container_name)?;
    let path = place.sidecar(&sidecar.container_name);
    if std::fs::symlink_metadata(&path).is_ok_and(|meta| !meta.is_file()) {
        let link = std::io::Error::other("something that is not a plain file is in the way");
        return Err(LaunchError::io("write", &path)(link));
    }
    private::write(&path, sidecar.to_json().as_bytes()).map_err(LaunchError::io("write", &path))?;
    Ok(path)
}

/// Reads a sidecar back.
///
/// # Errors
/// [`LaunchError::Io`] when it cannot be read or used.
pub fn read(path: &std::path::Path) -> Result<Sidecar, LaunchError> {
    let bytes = base::file::read_regular(path, wire::sidecar::SIZE_LIMIT).map_err(LaunchError::io("read", path))?;
    Sidecar::parse(&bytes).map_err(|e| LaunchError::io("read", path)(std::io::Error::other(e)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    // improves: 21-7.1-sidecar-private
    #[test]
    fn private_replaced_and_never_through_a_link() {
        let root = tempfile::tempdir().unwrap();
        let place = Place {
            state_dir: root.path().join("s"),
            runtime_dir: root.path().join("r"),
            tcp: false,
            allow_root: false,
        };
        let sidecar = Sidecar {
            container_name: "c1".into(),
            db_path: "/v/db".into(),
            runtime_dir: place.runtime_dir.clone(),
            ..Sidecar::default()
        };
        let path = write(&place, &sidecar).unwrap();
        assert_eq!(path, place.state_dir.join("sidecar/c1.json"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        write(&place, &sidecar).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path).unwrap(), sidecar);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);

        let target = root.path().join("target");
        std::fs::write(&target, "untouched").unwrap();
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(write(&place, &sidecar).is_err());
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "untouched");
        assert!(write(&place, &Sidecar { container_name: "../x".into(), ..sidecar }).is_err());
    }
}
