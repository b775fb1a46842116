//! A process with a umask that removes all rights.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use libtest_mimic::Failed;
use session_core::{Backend as _, Bytes, Record, Revision, Write};

use crate::{HOUR, key, runtime, start, store_of_child};

pub(crate) fn test() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let above = directory.path().join("above");
    let path = above.join("sessions");
    assert!(start("umask", &path).status()?.success());
    for directory in [&above, &path, &path.join("01")] {
        assert_eq!(mode(directory)?, 0o700, "{}", directory.display());
    }
    assert_eq!(mode(&path.join("01").join(key(1).to_hex()))?, 0o600);
    Ok(())
}

pub(crate) fn child() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o777));
    let record = Record { payload: Bytes::new(), revision: Revision::from_u64(1), owner: None };
    let store = store_of_child();
    let created = runtime().block_on(store.save(&key(1), &record, Write::Create { ttl: HOUR }));
    created.expect("the store has its rights");
}

fn mode(path: &Path) -> std::io::Result<u32> {
    Ok(std::fs::symlink_metadata(path)?.mode() & 0o7777)
}
