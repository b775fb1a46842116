//! Files that are not records, and files that a writer did not complete.

use super::*;

/// Every kind of entry that is not a session's file is `Corrupt`, is kept, and is removed by
/// destroy.
#[tokio::test]
async fn a_file_that_is_not_a_record_is_corrupt_and_destroy_removes_it() {
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
        let error = fixture.store.touch(&bad, Revision::from_u64(1), HOUR).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}");
        let only = Some(Revision::from_u64(1));
        assert!(!fixture.store.destroy(&bad, only).await.unwrap(), "{what}");
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
async fn a_directory_instead_of_a_file_is_corrupt() {
    let fixture = Fixture::new();
    fixture.create(&key(1, 1), HOUR).await;
    fs::create_dir(fixture.file(&key(1, 2))).unwrap();
    assert_eq!(fixture.load_error(&key(1, 2)).await, ErrorKind::Corrupt);
    let error = fixture.store.destroy(&key(1, 2), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other);
    assert!(error.nothing_was_written());
}

#[tokio::test]
async fn a_damaged_expiry_is_corrupt() {
    let fixture = Fixture::new();
    fixture.create(&key(1, 1), HOUR).await;
    let file = File::options().write(true).open(fixture.file(&key(1, 1)));
    file.unwrap().write_all_at(&[0xFF; 8], 8).unwrap();
    assert_eq!(fixture.load_error(&key(1, 1)).await, ErrorKind::Corrupt);
}

/// Files with an intact header, longer and shorter than the first read.
#[tokio::test]
async fn a_file_that_has_grown_is_corrupt_for_each_way_of_reading() {
    let fixture = Fixture::new();
    for (n, size) in [(1, 0), (2, 500), (3, 4_100)] {
        let key = key(1, n);
        let record = Record { payload: Bytes::from(vec![b'x'; size]), ..record(1) };
        fixture.store.save(&key, &record, Write::Create { ttl: HOUR }).await.unwrap();
        let file = File::options().append(true).open(fixture.file(&key));
        file.unwrap().write_all(&[b'x'; 8 << 10]).unwrap();
        for refused in [[false, false], [true, false], [true, true]] {
            fixture.set_unsupported(refused);
            assert_eq!(fixture.load_error(&key).await, ErrorKind::Corrupt, "{size} {refused:?}");
        }
    }
}

#[tokio::test]
async fn a_leftover_temporary_file_blocks_no_write_and_is_collected() {
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
