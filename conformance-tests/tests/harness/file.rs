//! session-file, in a temporary directory for each case.

use std::path::Path;
use std::sync::Arc;

use session_conformance::{Fixture, Harness};
use session_core::{Capabilities, Error, ErrorKind, Result, async_trait};
use session_file::{Durability, FileBackend};

pub(crate) fn harnesses() -> Vec<Box<dyn Harness>> {
    vec![Box::new(File)]
}

struct File;

#[async_trait]
impl Harness for File {
    fn name(&self) -> &str {
        "file"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: true, expires_natively: false }
    }

    async fn open(&self) -> Result<Fixture> {
        let directory = tempfile::tempdir().map_err(failed)?;
        let directory = Arc::new(directory);
        let dumped = Arc::clone(&directory);
        let fixture = Fixture::connecting(move || {
            // The suite can't test the durability of writes; the tests of session-file do.
            let path = directory.path().join("sessions");
            async move { FileBackend::open_with(path, Durability::None) }
        });
        Ok(fixture.dumping(move || {
            let directory = Arc::clone(&dumped);
            async move {
                let mut bytes = Vec::new();
                read_all(directory.path(), &mut bytes).map_err(failed)?;
                Ok(bytes)
            }
        }))
    }
}

/// The names and contents of all files.
fn read_all(directory: &Path, bytes: &mut Vec<u8>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        bytes.extend(path.as_os_str().as_encoded_bytes());
        match path.is_dir() {
            true => read_all(&path, bytes)?,
            false => bytes.extend(std::fs::read(&path)?),
        }
    }
    Ok(())
}

fn failed(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Other, "the temporary directory can't be used").with_source(error)
}
