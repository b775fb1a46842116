//! What files can suffer, and what the contract does not ask of every store. The contract itself is
//! proven by `conformance-tests`.

mod limits;

use std::fs::{self, DirBuilder, File, Permissions};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, PermissionsExt as _, symlink,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use session_core::{
    Backend as _, Bytes, ErrorKind, Key, Owner, Record, Revision, Saved, SessionId, SessionStore,
    Update, Write,
};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{Durability, FileBackend};

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(200);

struct Fixture {
    directory: TempDir,
    store: FileBackend,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        Self { directory, store }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("sessions")
    }

    fn file(&self, key: &Key) -> PathBuf {
        let name = key.to_hex();
        self.root().join(&name[..2]).join(name)
    }

    async fn create(&self, key: &Key, ttl: Duration) {
        let write = Write::Create { ttl };
        self.store.save(key, &record(1), write).await.unwrap();
    }

    /// The kind of error that a load ends in.
    async fn load_error(&self, key: &Key) -> ErrorKind {
        self.store.load(key).await.unwrap_err().kind()
    }
}

fn open(directory: &Path) -> FileBackend {
    FileBackend::open_with(directory.join("sessions"), Durability::None).unwrap()
}

fn key(first: u8, last: u8) -> Key {
    let mut bytes = [first; 32];
    bytes[31] = last;
    Key::from_bytes(bytes)
}

fn record(revision: u64) -> Record {
    Record {
        payload: Bytes::from_static(b"{\"theme\":\"dark\"}"),
        revision: Revision::from_u64(revision),
        owner: Some(Owner::new("ann").unwrap()),
    }
}

fn update(expected: u64) -> Update {
    Update { expected: Revision::from_u64(expected), ttl: None }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[tokio::test]
async fn directories_are_0700_and_files_0600_in_256_sub_directories() {
    let fixture = Fixture::new();
    let key = key(0xAB, 1);
    fixture.create(&key, HOUR).await;
    assert_eq!(mode(&fixture.root()), 0o700);
    assert_eq!(mode(&fixture.root().join("ab")), 0o700);
    assert_eq!(mode(&fixture.file(&key)), 0o600);
    assert_eq!(fs::read_dir(fixture.root().join("ab")).unwrap().count(), 1);
}

#[test]
fn a_directory_that_others_can_enter_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for open_mode in [0o750, 0o701, 0o777, 0o600, 0o500] {
        let path = directory.path().join(format!("{open_mode:o}"));
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(open_mode)).unwrap();
        let error = FileBackend::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.message().contains("chmod 700"), "{error}");
    }
}

#[test]
fn a_directory_of_another_user_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (path, owner) = match std::os::unix::fs::chown(directory.path(), Some(12_345), None) {
        Ok(()) => (directory.path(), 12_345),
        // Whoever may not give a directory away is not root, and root's is another user's.
        Err(_) => (Path::new("/"), 0),
    };
    let error = FileBackend::open(path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    let expected = format!("belongs to user {owner}");
    assert!(error.message().contains(&expected), "{error}");
}

#[test]
fn a_symbolic_link_or_a_file_in_the_place_of_the_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().join("real");
    DirBuilder::new().mode(0o700).create(&real).unwrap();
    let link = directory.path().join("link");
    symlink(&real, &link).unwrap();
    let file = directory.path().join("file");
    File::create(&file).unwrap();
    for path in [link.clone(), link.join(""), file] {
        let error = FileBackend::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{}", path.display());
    }
    assert_eq!(fs::read_dir(real).unwrap().count(), 0);
}

/// Every kind of thing that is not a session's file: `Corrupt`, kept, and removed by destroy.
#[tokio::test]
async fn what_is_not_a_record_is_corrupt_and_destroy_removes_it() {
    let fixture = Fixture::new();
    let (good, bad) = (key(1, 1), key(1, 2));
    fixture.create(&good, HOUR).await;
    let content = fs::read(fixture.file(&good)).unwrap();
    let path = fixture.file(&bad);

    let mut damaged = content.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let mut newer = content.clone();
    newer[7] = 2;
    let elsewhere = fixture.directory.path().join("elsewhere");
    fs::write(&elsewhere, &content).unwrap();
    type Plant<'a> = Box<dyn Fn() + 'a>;
    let plants: [(&str, Plant<'_>); 10] = [
        ("zero length", Box::new(|| fs::write(&path, "").unwrap())),
        ("half a header", Box::new(|| fs::write(&path, &content[..20]).unwrap())),
        ("half a body", Box::new(|| fs::write(&path, &content[..60]).unwrap())),
        ("another session's", Box::new(|| fs::write(&path, &content).unwrap())),
        ("damaged", Box::new(|| fs::write(&path, &damaged).unwrap())),
        ("a newer version", Box::new(|| fs::write(&path, &newer).unwrap())),
        ("text", Box::new(|| fs::write(&path, "not a session".repeat(9_999)).unwrap())),
        ("a link", Box::new(|| symlink(&elsewhere, &path).unwrap())),
        ("a dangling link", Box::new(|| symlink("nowhere", &path).unwrap())),
        (
            "a pipe",
            Box::new(|| {
                let made = std::process::Command::new("mkfifo").arg(&path).status();
                assert!(made.unwrap().success());
            }),
        ),
    ];
    for (what, plant) in plants {
        plant();
        let before = fs::symlink_metadata(&path).unwrap();
        assert_eq!(fixture.load_error(&bad).await, ErrorKind::Corrupt, "{what}");
        let create = Write::Create { ttl: HOUR };
        for write in [create, Write::Update(update(1))] {
            let error = fixture.store.save(&bad, &record(2), write).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Corrupt, "{what}");
        }
        let error = fixture.store.touch(&bad, HOUR).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}");
        let only = Some(Revision::from_u64(1));
        let error = fixture.store.destroy(&bad, only).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}");
        open(fixture.directory.path()).gc(100).await.unwrap();
        let after = fs::symlink_metadata(&path).unwrap();
        assert_eq!((before.ino(), before.len()), (after.ino(), after.len()), "{what}");

        assert!(fixture.store.destroy(&bad, None).await.unwrap(), "{what}");
        assert!(fs::symlink_metadata(&path).is_err(), "{what}");
        assert!(fixture.store.load(&bad).await.unwrap().is_none(), "{what}");
    }
    assert_eq!(fs::read(elsewhere).unwrap(), content);
    assert!(fixture.store.load(&good).await.unwrap().is_some());
}

#[tokio::test]
async fn a_directory_in_the_place_of_a_file_is_corrupt() {
    let fixture = Fixture::new();
    fixture.create(&key(1, 1), HOUR).await;
    fs::create_dir(fixture.file(&key(1, 2))).unwrap();
    assert_eq!(fixture.load_error(&key(1, 2)).await, ErrorKind::Corrupt);
    let error = fixture.store.destroy(&key(1, 2), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_link_in_the_place_of_a_sub_directory_is_not_followed() {
    let fixture = Fixture::new();
    let key = key(1, 1);
    fixture.create(&key, HOUR).await;
    let moved = fixture.directory.path().join("moved");
    fs::rename(fixture.root().join("01"), &moved).unwrap();
    symlink(&moved, fixture.root().join("01")).unwrap();
    assert_eq!(fixture.load_error(&key).await, ErrorKind::Unavailable);
    let write = Write::Update(update(1));
    let error = fixture.store.save(&key, &record(2), write).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_removed_directory_is_unavailable_not_empty() {
    let fixture = Fixture::new();
    fixture.create(&key(1, 1), HOUR).await;
    fs::remove_dir_all(fixture.root().join("01")).unwrap();
    assert!(fixture.store.load(&key(1, 1)).await.unwrap().is_none());
    fixture.create(&key(1, 1), HOUR).await;
    fs::remove_dir_all(fixture.root()).unwrap();
    assert_eq!(fixture.load_error(&key(1, 1)).await, ErrorKind::Unavailable);
}

#[tokio::test]
async fn touch_changes_twelve_bytes_of_the_same_file() {
    let fixture = Fixture::new();
    let key = key(1, 1);
    fixture.create(&key, HOUR).await;
    let path = fixture.file(&key);
    let (inode, before) = (fs::metadata(&path).unwrap().ino(), fs::read(&path).unwrap());
    fixture.store.touch(&key, 2 * HOUR).await.unwrap();
    let after = fs::read(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    assert_ne!(before[8..20], after[8..20]);
    assert_eq!((&before[..8], &before[20..]), (&after[..8], &after[20..]));
}

/// A load that meets half a touch asks again under the lock, rather than to call it corrupt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_waits_for_a_touch_that_is_half_written() {
    let fixture = Fixture::new();
    let key = key(1, 1);
    fixture.create(&key, HOUR).await;
    let whole = fs::read(fixture.file(&key)).unwrap();
    let file = File::options().write(true).open(fixture.file(&key)).unwrap();
    let lock = File::open(fixture.root().join("01")).unwrap();
    lock.lock().unwrap();
    file.write_all_at(&[0xFF; 4], 8).unwrap();
    let load = tokio::spawn({
        let store = fixture.store.clone();
        async move { store.load(&key).await }
    });
    sleep(MOMENT).await;
    assert!(!load.is_finished());
    file.write_all_at(&whole[8..20], 8).unwrap();
    lock.unlock().unwrap();
    assert_eq!(load.await.unwrap().unwrap().unwrap().record, record(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn loads_beside_touches_are_never_corrupt() {
    let fixture = Fixture::new();
    let key = key(1, 1);
    fixture.create(&key, HOUR).await;
    let done = Arc::new(AtomicBool::new(false));
    let loads = tokio::spawn({
        let (store, done) = (fixture.store.clone(), Arc::clone(&done));
        async move {
            let mut loads = 0;
            while !done.load(Ordering::Relaxed) {
                assert!(store.load(&key).await.unwrap().is_some());
                loads += 1;
            }
            loads
        }
    });
    for n in 0..2_000 {
        let ttl = HOUR + Duration::from_millis(n * 0x1_0101);
        fixture.store.touch(&key, ttl).await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    assert!(loads.await.unwrap() > 100);
}

#[tokio::test]
async fn a_damaged_deadline_is_corrupt() {
    let fixture = Fixture::new();
    fixture.create(&key(1, 1), HOUR).await;
    let file = File::options().write(true).open(fixture.file(&key(1, 1)));
    file.unwrap().write_all_at(&[0xFF; 8], 8).unwrap();
    assert_eq!(fixture.load_error(&key(1, 1)).await, ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_left_over_temporary_file_is_in_nobodys_way_and_is_collected() {
    let fixture = Fixture::new();
    fixture.create(&key(1, 1), HOUR).await;
    let temporary = fixture.root().join("01/.tmp");
    fs::write(&temporary, "half a rec").unwrap();
    fixture.create(&key(1, 2), HOUR).await;
    assert!(!temporary.exists());

    fs::write(&temporary, "half a rec").unwrap();
    assert_eq!(open(fixture.directory.path()).gc(10).await.unwrap(), 0);
    assert!(!temporary.exists());
}

#[tokio::test]
async fn gc_leaves_foreign_files_alone() {
    let fixture = Fixture::new();
    fixture.create(&key(1, 1), MOMENT).await;
    let content = fs::read(fixture.file(&key(1, 1))).unwrap();
    let expired_name = key(1, 1).to_hex();
    let foreign = [
        "notes.txt".to_owned(),
        "01/notes.txt".to_owned(),
        format!("01/{}", expired_name.to_uppercase()),
        format!("01/{}.bak", expired_name),
        format!("01/{}", key(2, 1).to_hex()),
        format!("01/{}", key(1, 2).to_hex()),
    ];
    // Keys of digits only have no upper case.
    let foreign: Vec<_> = foreign
        .iter()
        .filter(|name| **name != format!("01/{expired_name}"))
        .map(|name| fixture.root().join(name))
        .collect();
    for path in &foreign {
        fs::write(path, &content).unwrap();
    }
    sleep(MOMENT).await;
    for store in [&fixture.store, &open(fixture.directory.path())] {
        store.gc(100).await.unwrap();
    }
    assert!(!fixture.file(&key(1, 1)).exists());
    for path in foreign {
        assert!(path.exists(), "{}", path.display());
    }
}

/// What a process wrote is collected by it without a look at other files, and by the next process
/// after a sweep.
#[tokio::test]
async fn gc_finds_its_own_and_others_expired_sessions_in_small_batches() {
    let fixture = Fixture::new();
    for n in 0..=255 {
        fixture.create(&key(n, 1), MOMENT).await;
        fixture.create(&key(n, 2), HOUR).await;
        if n == 9 {
            fixture.store.touch(&key(n, 1), HOUR).await.unwrap();
        }
    }
    sleep(MOMENT).await;
    let other = open(fixture.directory.path());
    let (mut mine, mut others) = (0, 0);
    for _ in 0..13 {
        mine += fixture.store.gc(10).await.unwrap();
        others += other.gc(10).await.unwrap();
    }
    assert_eq!((mine, others), (130, 125));
    for n in 0..=255 {
        assert_eq!(fixture.file(&key(n, 1)).exists(), n == 9);
        assert!(fixture.file(&key(n, 2)).exists());
    }

    // Both know their way now, also to what comes later.
    fixture.create(&key(3, 3), MOMENT).await;
    sleep(MOMENT).await;
    assert_eq!(fixture.store.gc(10).await.unwrap(), 1);
}

/// What is remembered is a hint; the file decides. Another process prolonged it meanwhile.
#[tokio::test]
async fn gc_never_removes_what_was_prolonged_meanwhile() {
    let fixture = Fixture::new();
    fixture.store.gc(10).await.unwrap();
    let short = Duration::from_secs(1);
    fixture.create(&key(1, 1), short).await;
    fixture.create(&key(1, 2), short).await;
    open(fixture.directory.path()).touch(&key(1, 1), HOUR).await.unwrap();
    sleep(short).await;
    assert_eq!(fixture.store.gc(10).await.unwrap(), 1);
    assert!(fixture.store.load(&key(1, 1)).await.unwrap().is_some());
}

/// More sessions of one sub-directory are due than are remembered.
#[tokio::test]
async fn gc_removes_all_of_a_crowded_sub_directory() {
    let fixture = Fixture::new();
    let crowd = |n: u16| {
        let mut bytes = [1; 32];
        bytes[30..].copy_from_slice(&n.to_be_bytes());
        Key::from_bytes(bytes)
    };
    fixture.store.gc(1).await.unwrap();
    for n in 0..2_500 {
        fixture.create(&crowd(n), MOMENT).await;
    }
    fixture.create(&crowd(9_999), HOUR).await;
    sleep(MOMENT).await;
    assert_eq!(fixture.store.gc(2_400).await.unwrap(), 2_400);
    assert_eq!(fixture.store.gc(2_400).await.unwrap(), 100);
    assert!(fixture.store.load(&crowd(9_999)).await.unwrap().is_some());
}

#[tokio::test]
async fn sessions_survive_reopening_with_their_deadline() {
    let fixture = Fixture::new();
    fixture.create(&key(1, 1), HOUR).await;
    for durability in [Durability::None, Durability::Data, Durability::Full] {
        let store = FileBackend::open_with(fixture.root(), durability).unwrap();
        let loaded = store.load(&key(1, 1)).await.unwrap().unwrap();
        assert_eq!(loaded.record, record(1));
        assert!(loaded.expires_in <= HOUR && loaded.expires_in > HOUR - Duration::from_secs(60));
        let write = Write::Update(update(1));
        store.save(&key(1, 1), &record(1), write).await.unwrap();
        let write = update(1);
        store.rotate(&key(1, 1), &key(2, 1), &record(2), write).await.unwrap();
        let write = update(2);
        store.rotate(&key(2, 1), &key(1, 1), &record(1), write).await.unwrap();
        assert!(store.load(&key(2, 1)).await.unwrap().is_none());
    }
}

/// 32 tasks move sessions between two sub-directories in both directions: nothing is lost, and
/// nobody waits for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rotations_in_both_directions_do_not_block_each_other() {
    let fixture = Fixture::new();
    let tasks: Vec<_> = (0..32)
        .map(|task| {
            let store = fixture.store.clone();
            tokio::spawn(async move {
                let (mut here, mut there) = (key(1, task), key(2, task));
                if task % 2 == 0 {
                    (here, there) = (there, here);
                }
                let write = Write::Create { ttl: HOUR };
                store.save(&here, &record(0), write).await.unwrap();
                for n in 0..50 {
                    let rotated = store.rotate(&here, &there, &record(n + 1), update(n)).await;
                    rotated.unwrap();
                    (here, there) = (there, here);
                }
                let loaded = store.load(&here).await.unwrap().unwrap();
                assert_eq!(loaded.record.revision, Revision::from_u64(50));
                assert!(store.load(&there).await.unwrap().is_none());
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Neither the names nor the contents of the files hold the client's secret, in any spelling.
#[tokio::test]
async fn nothing_in_the_directory_contains_the_cookies_value() {
    let fixture = Fixture::new();
    let store = SessionStore::new(fixture.store.clone());
    let session = store.create();
    session.insert("theme", "dark").unwrap();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    let cookie = store.cookie_value(&session).unwrap();
    let id = SessionId::parse(cookie.as_str()).unwrap();
    let hex = Key::from_bytes(*id.expose_bytes()).to_hex();
    let secrets = [cookie.as_str().as_bytes(), &id.expose_bytes()[..], hex.as_bytes()];

    let path = fixture.file(&id.key());
    let content = fs::read(&path).unwrap();
    assert!(content.windows(4).any(|part| part == b"dark"));
    for secret in secrets {
        let name = path.as_os_str().as_encoded_bytes();
        for at_rest in [name, &content, format!("{:?}", fixture.store).as_bytes()] {
            assert!(!at_rest.windows(secret.len()).any(|part| part == secret));
        }
    }
    let files = fs::read_dir(path.parent().unwrap()).unwrap().count();
    let sub_directories = fs::read_dir(fixture.root()).unwrap().count();
    assert_eq!((files, sub_directories), (1, 1));
}
