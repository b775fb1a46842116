//! Fills a store and measures how much the process grew.

use std::time::Duration;

use session_core::{Backend as _, Bytes, Key, Record, Revision, Write};
use session_memory::MemoryBackend;

/// A session of eight short values.
const PAYLOAD: usize = 460;

/// The bytes of memory that each of `count` sessions takes beside its payload; `None` if the system
/// does not report it.
pub(crate) fn bytes_per_session(count: usize) -> Option<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers can always be built");
    let store = MemoryBackend::new();
    let before = resident_bytes()?;
    runtime.block_on(async {
        for number in 0..count as u64 {
            let record = Record {
                payload: Bytes::from(vec![b'x'; PAYLOAD]),
                revision: Revision::from_u64(number),
                owner: None,
            };
            let ttl = Duration::from_millis(7_200_000 + number / 100);
            let key = key(number);
            let created = store.save(&key, &record, Write::Create { ttl }).await;
            created.expect("there is no limit");
            let loaded = store.load(&key).await.expect("memory answers");
            assert_eq!(loaded.map(|loaded| loaded.record), Some(record));
        }
    });
    let grown = resident_bytes()?.checked_sub(before)?;
    assert_eq!(store.len(), count);
    (grown / count).checked_sub(PAYLOAD)
}

/// Uniformly distributed like a digest (splitmix64).
fn key(number: u64) -> Key {
    let mut bytes = [0; 32];
    for (place, part) in bytes.chunks_exact_mut(8).enumerate() {
        let mut z = (number * 4 + place as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        part.copy_from_slice(&(z ^ (z >> 31)).to_be_bytes());
    }
    Key::from_bytes(bytes)
}

fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: usize = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}
