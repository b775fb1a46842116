//! A full disk and a read-only one. The tests mount a small file system, which needs a privilege.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};
use session_core::{Backend as _, Bytes, ErrorKind, Record, Revision, Update, Write};
use session_file::FileBackend;
use tempfile::TempDir;

use crate::{HOUR, key, runtime};

pub(crate) fn full() -> Trial {
    trial("full_disk_is_a_refusal_and_the_old_record_stays", test_full)
}

pub(crate) fn read_only() -> Trial {
    trial("read_only_disk_is_a_refusal_and_loads_go_on", test_read_only)
}

fn trial(name: &str, test: fn(&Disk) -> Result<(), Failed>) -> Trial {
    match Disk::mount() {
        Ok(disk) => Trial::test(name, move || test(&disk)),
        Err(why) => {
            let name = format!("{name} (skipped: no small disk could be mounted: {why})");
            Trial::test(name, || Ok(())).with_ignored_flag(true)
        }
    }
}

fn test_read_only(disk: &Disk) -> Result<(), Failed> {
    runtime().block_on(async {
        let store = FileBackend::open(disk.path().join("sessions"))?;
        let create = Write::Create { ttl: HOUR };
        let update = Write::Update(Update { expected: Revision::from_u64(1), ttl: None });
        store.save(&key(0), &record(1, 400), create).await?;
        disk.remount("ro");
        let errors = [
            store.save(&key(0), &record(2, 400), update).await.expect_err("an update"),
            store.save(&key(1), &record(1, 400), create).await.expect_err("a create"),
            store.touch(&key(0), Revision::from_u64(1), HOUR).await.expect_err("a touch"),
            store.destroy(&key(0), None).await.expect_err("a destroy"),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            assert!(error.nothing_was_written(), "{error:?}");
        }
        let loaded = store.load(&key(0)).await?.ok_or("the session is gone")?;
        assert_eq!(loaded.record, record(1, 400));
        disk.remount("rw");
        store.save(&key(0), &record(2, 400), update).await?;
        Ok(())
    })
}

fn test_full(disk: &Disk) -> Result<(), Failed> {
    runtime().block_on(async {
        let store = FileBackend::open(disk.path().join("sessions"))?;
        let create = Write::Create { ttl: HOUR };
        store.save(&key(0), &record(1, 400), create).await?;
        let mut filled = 0;
        let error = loop {
            match store.save(&key(filled + 1), &record(1, 32 << 10), create).await {
                Ok(()) => filled += 1,
                Err(error) => break error,
            }
        };
        assert!(filled > 2);
        assert_full(&error);
        assert!(store.load(&key(filled + 1)).await?.is_none());

        let update = Write::Update(Update { expected: Revision::from_u64(1), ttl: None });
        let error = store.save(&key(0), &record(2, 64 << 10), update).await;
        assert_full(&error.expect_err("the disk is full"));
        let loaded = store.load(&key(0)).await?.ok_or("the session is gone")?;
        assert_eq!(loaded.record, record(1, 400));
        store.touch(&key(0), Revision::from_u64(1), HOUR).await?;
        for bucket in std::fs::read_dir(disk.path().join("sessions"))? {
            assert!(!bucket?.path().join(".tmp").exists());
        }

        for number in 1..=filled {
            assert!(store.destroy(&key(number), None).await?);
        }
        store.save(&key(0), &record(2, 64 << 10), update).await?;
        Ok(())
    })
}

fn assert_full(error: &session_core::Error) {
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.nothing_was_written(), "{error}");
    assert!(error.message().contains("the disk is full"), "{error}");
    let source = error.source().expect("there is a cause");
    let source = source.downcast_ref::<io::Error>().expect("of this type");
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
}

fn record(revision: u64, size: usize) -> Record {
    Record {
        payload: Bytes::from(vec![b'x'; size]),
        revision: Revision::from_u64(revision),
        owner: None,
    }
}

/// 256 KiB of memory as a file system, unmounted on drop.
struct Disk(TempDir);

impl Disk {
    fn mount() -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]);
        let mount = mount.arg(directory.path()).stdin(Stdio::null()).output();
        let mount = mount.map_err(|error| error.to_string())?;
        if !mount.status.success() {
            return Err(String::from_utf8_lossy(&mount.stderr).trim().to_owned());
        }
        Ok(Self(directory))
    }

    /// With another option.
    fn remount(&self, option: &str) {
        let mut mount = Command::new("mount");
        let done = mount.args(["-o", &format!("remount,{option}")]).arg(self.0.path()).status();
        assert!(done.is_ok_and(|status| status.success()));
    }

    fn path(&self) -> PathBuf {
        Path::to_owned(self.0.path())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}
