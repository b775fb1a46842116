//! `kill -9` during the writes of 64 concurrent writers.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, sleep};
use std::time::Duration;

use libtest_mimic::Failed;
use session_core::{Backend as _, Bytes, ErrorKind, Record, Revision, Update, Write};
use session_file::FileBackend;
use tokio::runtime::Runtime;

use crate::{HOUR, key, open, runtime, start, store_of_child};

const KILLS: usize = 200;
const WRITERS: u8 = 64;
const SESSIONS: u8 = 16;

/// Four writers for each session; after a conflict a writer loads again. Each write increments the
/// number in the record, and the writer acknowledges the number through a pipe.
#[expect(clippy::print_stdout, reason = "the figures show how much a run has tested")]
pub(crate) fn test() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("sessions");
    let (store, runtime) = (open(&path), runtime());
    for session in 0..SESSIONS {
        let write = Write::Create { ttl: HOUR };
        runtime.block_on(store.save(&key(session), &numbered(0), write))?;
    }

    let mut acknowledged = HashMap::new();
    let (mut acknowledgements, mut left_overs, mut unacknowledged) = (0, 0, 0);
    for _ in 0..KILLS {
        acknowledgements += write_until_killed(start("write", &path), &mut acknowledged)?;
        left_overs += temporary_files(&path);
        unacknowledged += check(&store, &runtime, &acknowledged)?;
    }
    println!(
        "{KILLS} kills, {acknowledgements} writes acknowledged, {unacknowledged} made and not \
         acknowledged, {left_overs} temporary files left"
    );
    // Otherwise no process was killed during a write.
    assert!(left_overs > 0);
    assert!(acknowledgements > 5 * KILLS);
    Ok(())
}

/// Starts a process and kills it while it writes. Notes the last number that it acknowledged for
/// each session or user. Returns the number of acknowledgements.
pub(crate) fn write_until_killed(
    mut process: Command,
    last: &mut HashMap<u8, u64>,
) -> Result<usize, Failed> {
    let mut child = process.stdout(Stdio::piped()).spawn()?;
    let output = BufReader::new(child.stdout.take().ok_or("there is a pipe")?);
    let (acknowledged, acknowledgements) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut lines = Vec::new();
        for line in output.lines() {
            lines.push(line?);
            let _ = acknowledged.send(());
        }
        std::io::Result::Ok(lines)
    });
    // Counted, not timed, so that a slow machine tests as much.
    for _ in 0..fastrand::u32(1..30) {
        acknowledgements.recv_timeout(Duration::from_secs(30))?;
    }
    sleep(Duration::from_micros(fastrand::u64(0..2_000)));
    child.kill()?;
    child.wait()?;
    let lines = reader.join().map_err(|_| "the reader panicked")??;
    for line in &lines {
        let (one, number) = line.split_once(' ').ok_or("two numbers")?;
        let last = last.entry(one.parse()?).or_insert(0);
        *last = number.parse::<u64>()?.max(*last);
    }
    Ok(lines.len())
}

/// Checks that every record is whole, and not older than acknowledged. Returns how many are newer.
fn check(
    store: &FileBackend,
    runtime: &Runtime,
    acknowledged: &HashMap<u8, u64>,
) -> Result<usize, Failed> {
    let mut newer = 0;
    for session in 0..SESSIONS {
        let loaded = runtime.block_on(store.load(&key(session)))?;
        let record = loaded.ok_or("a session is gone")?.record;
        let number = number_of(&record);
        assert_eq!(record, numbered(number), "half a record");
        let acknowledged = acknowledged.get(&session).copied().unwrap_or(0);
        assert!(number >= acknowledged, "{number}, acknowledged {acknowledged}");
        newer += usize::from(number > acknowledged);
    }
    Ok(newer)
}

fn temporary_files(path: &Path) -> usize {
    (0..SESSIONS).filter(|session| path.join(format!("{session:02x}/.tmp")).exists()).count()
}

/// Writes until it is killed.
pub(crate) fn child() {
    let store = store_of_child();
    runtime().block_on(async {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(write(store.clone(), writer % SESSIONS)))
            .collect();
        for writer in writers {
            writer.await.expect("no writer panics");
        }
    });
}

async fn write(store: FileBackend, session: u8) {
    loop {
        let loaded = store.load(&key(session)).await.expect("the store answers");
        let there = loaded.expect("the session lives").record;
        let number = number_of(&there) + 1;
        let write = Write::Update(Update {
            expected: there.revision,
            ttl: number.is_multiple_of(3).then_some(HOUR),
        });
        match store.save(&key(session), &numbered(number), write).await {
            Ok(()) => acknowledge(session, number),
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => panic!("{error}"),
        }
        if number.is_multiple_of(8) {
            match store.touch(&key(session), Revision::from_u64(number), HOUR).await {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Reports an acknowledged number to the parent process.
pub(crate) fn acknowledge(one: u8, number: u64) {
    // One short write, which is atomic on a pipe.
    let line = format!("{one} {number}\n");
    let mut output = std::io::stdout().lock();
    output.write_all(line.as_bytes()).expect("the parent reads");
}

/// The record of this number. Records of different numbers have no equal part.
pub(crate) fn numbered(number: u64) -> Record {
    let size = usize::try_from(number * 7_919 % 20_000).expect("below 20,000");
    let fill = number.to_le_bytes().repeat(size / 8 + 1);
    Record { payload: Bytes::from(fill), revision: Revision::from_u64(number), owner: None }
}

fn number_of(record: &Record) -> u64 {
    let first = record.payload.first_chunk();
    u64::from_le_bytes(*first.expect("every payload begins with its number"))
}
