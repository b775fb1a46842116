//! Requirements on the directory, and changes of it while the store is open.

use super::*;

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
fn a_directory_with_unsuitable_mode_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for open_mode in [0o701, 0o705, 0o777, 0o2707, 0o600, 0o500, 0o470] {
        let path = directory.path().join(format!("{open_mode:o}"));
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(open_mode)).unwrap();
        let error = FileBackend::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.message().contains("chmod 700"), "{error}");
        assert_eq!(mode(&path), open_mode);
    }
}

/// As an orchestrator does when it mounts a volume.
#[tokio::test]
async fn the_rights_of_a_group_are_removed() {
    let fixture = Fixture::new();
    fixture.create(&key(1, 1), HOUR).await;
    fixture.create(&key(1, 2), HOUR).await;
    let chmod = || {
        let mut chmod = std::process::Command::new("chmod");
        let done = chmod.args(["-R", "g+rwX,g+s"]).arg(fixture.root()).status();
        assert!(done.unwrap().success());
        assert_eq!(mode(&fixture.root()), 0o2770);
    };
    chmod();
    // A store that is already open is not affected.
    fixture.touch(&key(1, 1), HOUR).await;
    fixture.create(&key(2, 1), HOUR).await;
    let store = open(fixture.directory.path());
    assert_eq!(mode(&fixture.root()), 0o700);
    for key in [key(1, 1), key(1, 2), key(2, 1)] {
        assert_eq!(store.load(&key).await.unwrap().unwrap().record, record(1));
        store.save(&key, &record(2), Write::Update(update(1))).await.unwrap();
    }
    for open_mode in [0o710, 0o720, 0o740, 0o750, 0o2770] {
        fs::set_permissions(fixture.root(), Permissions::from_mode(open_mode)).unwrap();
        open(fixture.directory.path());
        assert_eq!(mode(&fixture.root()), 0o700, "{open_mode:o}");
    }
}

#[test]
fn a_directory_of_another_user_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (path, owner) = match std::os::unix::fs::chown(directory.path(), Some(12_345), None) {
        Ok(()) => (directory.path(), 12_345),
        // This process is not root, so the directory of root belongs to another user.
        Err(_) => (Path::new("/"), 0),
    };
    let error = FileBackend::open(path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    let expected = format!("belongs to user {owner}");
    assert!(error.message().contains(&expected), "{error}");
}

#[test]
fn a_symbolic_link_or_a_file_instead_of_the_directory_is_refused() {
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

#[tokio::test]
async fn a_link_instead_of_a_bucket_is_not_followed() {
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
    let write = Write::Create { ttl: HOUR };
    let error = fixture.store.save(&key(1, 1), &record(1), write).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.nothing_was_written());
    assert!(!fixture.root().exists());
}

/// From the first operation on.
#[tokio::test]
async fn the_store_uses_a_directory_that_was_removed_and_created_again() {
    for removed_for in [Duration::ZERO, MOMENT] {
        let fixture = Fixture::new();
        fixture.create(&key(1, 1), HOUR).await;
        fs::remove_dir_all(fixture.root()).unwrap();
        sleep(removed_for).await;
        DirBuilder::new().mode(0o770).create(fixture.root()).unwrap();
        assert!(fixture.store.load(&key(1, 1)).await.unwrap().is_none());
        assert_eq!(mode(&fixture.root()), 0o700);
        fixture.create(&key(1, 1), HOUR).await;
        assert!(fixture.file(&key(1, 1)).exists());

        fs::remove_dir_all(fixture.root()).unwrap();
        DirBuilder::new().mode(0o700).create(fixture.root()).unwrap();
        fixture.create(&key(1, 2), HOUR).await;
        assert!(fixture.file(&key(1, 2)).exists());
    }
}

/// As when a backup replaces it. The old directory still exists under another name.
#[tokio::test]
async fn the_store_uses_a_directory_that_replaced_its_own() {
    let fixture = Fixture::new();
    fixture.create(&key(1, 1), HOUR).await;
    fixture.create(&key(1, 2), HOUR).await;
    let moved = fixture.directory.path().join("moved");
    fs::rename(fixture.root(), &moved).unwrap();
    // The path names nothing, so the moved directory is still the store.
    sleep(Duration::from_millis(1_100)).await;
    fixture.store.destroy(&key(1, 2), None).await.unwrap();
    assert!(fixture.store.load(&key(1, 1)).await.unwrap().is_some());

    let other = open(fixture.directory.path());
    other.save(&key(3, 1), &record(1), Write::Create { ttl: HOUR }).await.unwrap();
    sleep(Duration::from_millis(1_100)).await;
    assert!(fixture.store.load(&key(1, 1)).await.unwrap().is_none());
    assert!(fixture.store.load(&key(3, 1)).await.unwrap().is_some());
    fixture.create(&key(1, 1), HOUR).await;
    assert!(fixture.file(&key(1, 1)).exists());
}

/// The new directory can't be used, so the store keeps the open one.
#[tokio::test]
async fn a_directory_of_unsuitable_mode_does_not_replace_the_open_one() {
    let fixture = Fixture::new();
    fixture.create(&key(1, 1), HOUR).await;
    let moved = fixture.directory.path().join("moved");
    fs::rename(fixture.root(), &moved).unwrap();
    fs::create_dir(fixture.root()).unwrap();
    fs::set_permissions(fixture.root(), Permissions::from_mode(0o777)).unwrap();
    sleep(Duration::from_millis(1_100)).await;
    assert!(fixture.store.load(&key(1, 1)).await.unwrap().is_some());
    fs::remove_dir_all(&moved).unwrap();
    assert_eq!(fixture.load_error(&key(1, 1)).await, ErrorKind::Unavailable);
    assert_eq!(mode(&fixture.root()), 0o777);
}

/// An administrator removed the rights. By the table in the contract this is `InvalidConfig`.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn missing_rights_are_a_refusal() {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

    let fixture = Fixture::new();
    fixture.create(&key(1, 1), HOUR).await;
    let store = &fixture.store.store;
    let request = crate::queue::Request::now(HOUR).unwrap();
    let create = Write::Create { ttl: HOUR };
    let operations = || {
        // Capabilities are per thread. Without them, root has only the rights of an owner.
        let mut mine = capabilities(None).unwrap();
        mine.effective.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
        set_capabilities(None, mine).unwrap();
        let load = store.load(&key(1, 1)).map(drop);
        let save = store.save(request, &key(1, 2), &record(1), create);
        let destroy = store.destroy(request, &key(1, 1), None).map(drop);
        [load, save, destroy]
    };
    for (bucket_mode, load_works) in [(0o000, false), (0o500, true)] {
        let bucket = fixture.root().join("01");
        fs::set_permissions(&bucket, Permissions::from_mode(bucket_mode)).unwrap();
        let results = std::thread::scope(|scope| scope.spawn(operations).join().unwrap());
        for (n, result) in results.into_iter().enumerate() {
            if n == 0 && load_works {
                result.unwrap();
                continue;
            }
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{bucket_mode:o}, {n}");
            assert!(error.nothing_was_written());
        }
        fs::set_permissions(&bucket, Permissions::from_mode(0o700)).unwrap();
    }
    assert!(fixture.store.load(&key(1, 1)).await.unwrap().is_some());
    fixture.create(&key(1, 2), HOUR).await;
}

/// Neither the names nor the contents of the files contain the client's secret in any form.
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
