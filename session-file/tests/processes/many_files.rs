//! A process that can't open any more files.

use libtest_mimic::Failed;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use session_core::{Backend as _, Bytes, Error, ErrorKind, Record, Revision, Update, Write};

use crate::{HOUR, key, runtime, start, store_of_child};

pub(crate) fn test() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    assert!(start("many_files", &directory.path().join("sessions")).status()?.success());
    Ok(())
}

pub(crate) fn child() {
    let (store, runtime) = (store_of_child(), runtime());
    let record = |n| Record {
        payload: Bytes::from_static(b"{}"),
        revision: Revision::from_u64(n),
        owner: None,
    };
    let (create, update) =
        (Write::Create { ttl: HOUR }, Update { expected: Revision::from_u64(1), ttl: None });
    runtime.block_on(async {
        store.save(&key(1), &record(1), create).await.expect("files can be opened");
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..before }).expect("it is lower");
        let errors: [Error; 6] = [
            store.load(&key(1)).await.expect_err("a load opens a file"),
            store.save(&key(2), &record(1), create).await.expect_err("so does a create"),
            store.save(&key(1), &record(2), Write::Update(update)).await.expect_err("an update"),
            store.touch(&key(1), update.expected, HOUR).await.expect_err("a touch"),
            store.destroy(&key(1), None).await.expect_err("a destroy"),
            store.gc(10).await.expect_err("a collection"),
        ];
        setrlimit(Resource::Nofile, before).expect("it was allowed before");
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            assert!(error.nothing_was_written(), "{error:?}");
        }
        let loaded = store.load(&key(1)).await.expect("files can be opened again");
        assert_eq!(loaded.expect("it lives").record, record(1));
        assert!(store.load(&key(2)).await.expect("files can be opened").is_none());
        store.save(&key(1), &record(2), Write::Update(update)).await.expect("files can be opened");
    });
}
