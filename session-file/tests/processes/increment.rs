//! Compare-and-swap between processes.

use libtest_mimic::Failed;
use session_core::{Backend as _, Bytes, ErrorKind, Record, Revision, Update, Write};
use session_file::FileBackend;

use crate::{HOUR, key, open, runtime, start, store_of_child};

const UPDATES: u64 = 64;

pub(crate) fn test() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("sessions");
    let store = open(&path);
    let runtime = runtime();
    runtime.block_on(store.save(&key(1), &count(0), Write::Create { ttl: HOUR }))?;

    let mut children = [start("increment", &path).spawn()?, start("increment", &path).spawn()?];
    for child in &mut children {
        assert!(child.wait()?.success());
    }
    let loaded = runtime.block_on(store.load(&key(1)))?;
    let payload = loaded.ok_or("the session is gone")?.record.payload;
    assert_eq!(payload, (2 * UPDATES).to_string());
    Ok(())
}

/// 64 tasks increment the record once each.
pub(crate) fn child() {
    let store = store_of_child();
    runtime().block_on(async {
        let tasks: Vec<_> = (0..UPDATES).map(|_| tokio::spawn(increment(store.clone()))).collect();
        for task in tasks {
            task.await.expect("no increment panics");
        }
    });
}

async fn increment(store: FileBackend) {
    loop {
        let loaded = store.load(&key(1)).await.expect("the store answers");
        let there = loaded.expect("the session lives").record;
        let text = std::str::from_utf8(&there.payload).expect("digits");
        let number: u64 = text.parse().expect("a number");
        let write = Write::Update(Update { expected: there.revision, ttl: None });
        match store.save(&key(1), &count(number + 1), write).await {
            Ok(()) => return,
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn count(number: u64) -> Record {
    Record {
        payload: Bytes::from(number.to_string()),
        revision: Revision::from_u64(fastrand::u64(..)),
        owner: None,
    }
}
