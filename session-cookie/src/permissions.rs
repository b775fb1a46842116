//! Checks which other users can change or read a key file.

#[cfg(unix)]
pub(crate) use unix::{others_can_read, refusal};

#[cfg(unix)]
mod unix {
    use std::fs::Metadata;
    use std::os::unix::fs::MetadataExt as _;

    const ROOT: u32 = 0;

    /// The reason why a key in this file can't be trusted: another user may have written it.
    pub(crate) fn refusal(file: &Metadata) -> Option<&'static str> {
        let me = rustix::process::geteuid().as_raw();
        if file.uid() != me && file.uid() != ROOT {
            return Some("it belongs to another user, who can change it: change its owner (chown)");
        }
        let others_can_write = file.mode() & 0o022 != 0;
        others_can_write.then_some("its group or other users can change it: chmod 600")
    }

    pub(crate) fn others_can_read(file: &Metadata) -> bool {
        file.mode() & 0o044 != 0
    }

    #[cfg(test)]
    mod tests {
        use std::fs::{Permissions, set_permissions};
        use std::os::unix::fs::{PermissionsExt as _, chown};

        use super::*;

        #[test]
        fn a_key_belongs_to_us_or_to_root_and_others_can_t_change_it() {
            let file = tempfile::NamedTempFile::new().unwrap();
            for (mode, refused, read) in [
                (0o600, false, false),
                (0o400, false, false),
                (0o640, false, true),
                (0o604, false, true),
                (0o620, true, false),
                (0o602, true, false),
                (0o666, true, true),
            ] {
                set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
                let file = file.as_file().metadata().unwrap();
                assert_eq!(refusal(&file).is_some(), refused, "{mode:o}");
                assert_eq!(others_can_read(&file), read, "{mode:o}");
            }
            set_permissions(file.path(), Permissions::from_mode(0o600)).unwrap();
            // Only root can give a file away.
            if rustix::process::geteuid().is_root() {
                chown(file.path(), Some(12_345), None).unwrap();
                let reason = refusal(&file.as_file().metadata().unwrap()).unwrap();
                assert!(reason.contains("another user"), "{reason}");
            }
        }
    }
}

/// On other systems, the access control lists are up to the administrator.
#[cfg(not(unix))]
pub(crate) fn refusal(_: &std::fs::Metadata) -> Option<&'static str> {
    None
}

#[cfg(not(unix))]
pub(crate) fn others_can_read(_: &std::fs::Metadata) -> bool {
    false
}
