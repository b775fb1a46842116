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
