use super::*;
use crate::{Durability, NodeId, Persist, Read, Write};
use std::fs;
use std::sync::mpsc::{Receiver, channel};
use tempfile::TempDir;

fn identity() -> Identity {
    Identity {
        cluster: "test".to_owned(),
        node: NodeId(7),
    }
}

fn open(folder: &TempDir) -> DiskStore {
    DiskStore::open(folder.path(), &identity()).unwrap()
}

fn start(store: DiskStore) -> (Writer, Receiver<Done>) {
    let (tell, told) = channel();
    let writer =
        store.start(move |done| done.into_iter().for_each(|done| tell.send(done).unwrap()));
    (writer, told)
}

fn put(token: u64, key: &str, value: Option<&str>, durability: Durability) -> Persist {
    let write = |value: Option<&str>| Write {
        key: key.into(),
        value: value.map(Into::into),
    };
    Persist {
        token: Some(token),
        writes: vec![write(Some("overwritten")), write(value)],
        durability,
    }
}

fn fill(folder: &TempDir) {
    let (mut writer, told) = start(open(folder));
    for n in 0..100 {
        let durability = [Durability::Lazy, Durability::Synced][n as usize % 2];
        let key = format!("k/{n:03}");
        writer.persist(put(n, &key, Some(&format!("value {n}")), durability));
    }
    writer.persist(put(100, "k/050", None, Durability::Synced));
    for (token, key) in [(1, "k/050"), (2, "k/051")] {
        let key = key.into();
        writer.read(Read { token, key });
    }
    let (mut lazy, mut synced, mut read) = (Vec::new(), Vec::new(), Vec::new());
    for done in told.iter().take(103) {
        match done {
            Done::Persisted(token) if token % 2 == 0 && token < 100 => lazy.push(token),
            Done::Persisted(token) => synced.push(token),
            Done::Read(token, value) => read.push((token, value)),
            Done::Failed(error) => panic!("{error}"),
        }
    }
    assert!(lazy.is_sorted() && synced.is_sorted());
    assert_eq!((lazy.len(), synced.len()), (50, 51));
    assert_eq!(read, [(1, None), (2, Some(b"value 51".to_vec()))]);
    writer.close();
    let counts = writer.counts();
    assert_eq!((counts.batches, counts.reads), (101, 2));
    assert!((1..=51).contains(&counts.syncs));
}

#[test]
fn what_was_handed_over_is_found_again_in_the_order_of_its_keys() {
    let folder = TempDir::new().unwrap();
    fill(&folder);
    let store = open(&folder);
    let found: Vec<Key> = store.scan(b"k/").map(|(key, _)| key).collect();
    assert_eq!(found.len(), 99);
    assert!(found.is_sorted());
    assert_eq!(store.scan(b"k/09").count(), 10);
    assert_eq!(store.get(b"k/099").unwrap(), b"value 99");
    assert_eq!(store.get(b"k/050"), None);
    assert!(store.check().is_ok());
}

#[test]
fn a_folder_in_use_is_refused() {
    let folder = TempDir::new().unwrap();
    let _first = open(&folder);
    let second = DiskStore::open(folder.path(), &identity());
    assert!(matches!(second, Err(StoreError::Locked { .. })));
}

#[test]
fn a_folder_of_somebody_else_is_refused_and_not_touched() {
    let folder = TempDir::new().unwrap();
    fill(&folder);
    let refused = |identity: &Identity| match DiskStore::open(folder.path(), identity) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was opened"),
    };
    let cluster = Identity {
        cluster: "other".to_owned(),
        ..identity()
    };
    let error = refused(&cluster);
    assert!(
        error.ends_with(
            r#"has the data of node n7 of cluster "test", not of node n7 of cluster "other""#
        ),
        "{error}"
    );
    let node = Identity {
        node: NodeId(8),
        ..identity()
    };
    assert!(refused(&node).contains("not of node n8"));
    let file = folder.path().join("identity.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("version = 1", "version = 2")).unwrap();
    assert!(refused(&identity()).ends_with("has format version 2; this program reads 1"));
    fs::write(&file, "version = ").unwrap();
    assert!(refused(&identity()).contains("is damaged: identity.toml"));
    fs::write(&file, text).unwrap();
    assert_eq!(open(&folder).scan(b"").count(), 99);
}

#[test]
fn a_folder_with_other_things_is_refused() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("thesis.tex"), "my only copy").unwrap();
    let error = DiskStore::open(folder.path(), &identity()).err().unwrap();
    assert!(matches!(&error, StoreError::Unknown { found, .. } if found == "thesis.tex"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let file = folder.path().join("thesis.tex");
    let error = DiskStore::open(&file, &identity()).err().unwrap();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
}

#[test]
fn a_folder_whose_making_was_interrupted_is_made_again() {
    let folder = TempDir::new().unwrap();
    drop(open(&folder));
    let path = folder.path();
    fs::rename(path.join("identity.toml"), path.join("identity.new")).unwrap();
    fs::remove_file(path.join("data/version")).unwrap();
    assert_eq!(open(&folder).scan(b"").count(), 0);
    assert!(path.join("identity.toml").exists());
}

#[test]
fn damage_is_said_with_the_folder() {
    for file in [
        "version",
        "0.jnl",
        "keyspaces/0/current",
        "keyspaces/1",
        "keyspaces",
    ] {
        let folder = TempDir::new().unwrap();
        fill(&folder);
        let path = folder.path().join("data").join(file);
        assert!(path.exists(), "{file}");
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else if file == "0.jnl" {
            // In the middle of what was written, so that it is not taken for a torn end.
            let mut bytes = fs::read(&path).unwrap();
            bytes[700] ^= 1;
            fs::write(path, bytes).unwrap();
        } else {
            fs::write(path, "garbage").unwrap();
        }
        let error = DiskStore::open(folder.path(), &identity()).err();
        let error = error
            .unwrap_or_else(|| panic!("{file} was not missed"))
            .to_string();
        let name = folder.path().display().to_string();
        assert!(error.contains(&name), "{file}: {error}");
    }
}

#[test]
fn a_torn_end_is_forgotten() {
    let folder = TempDir::new().unwrap();
    fill(&folder);
    let path = folder.path().join("data/0.jnl");
    let bytes = fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    fs::write(&path, &bytes[..end - 3]).unwrap();
    let store = open(&folder);
    // The last batch deleted a key, which therefore is back.
    assert_eq!(store.get(b"k/050").unwrap(), b"value 50");
}

#[test]
fn a_key_that_cannot_be_stored_is_a_failure_and_no_panic() {
    let folder = TempDir::new().unwrap();
    let (mut writer, told) = start(open(&folder));
    writer.persist(put(1, "", None, Durability::Lazy));
    writer.persist(put(2, "k", None, Durability::Lazy));
    let done: Vec<Done> = told.iter().collect();
    assert!(
        matches!(done[..], [Done::Failed(StoreError::Damaged { .. })]),
        "{done:?}"
    );
    writer.close();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn what_is_reported_survives_the_end_of_the_process() {
    let folder = TempDir::new().unwrap();
    let (writer, told) = start(open(&folder));
    for n in 0..10 {
        writer.persist(put(n, &format!("k/{n}"), Some("value"), Durability::Lazy));
    }
    for n in 0..10 {
        assert!(matches!(told.recv().unwrap(), Done::Persisted(token) if token == n));
    }
    // The files as the system has them now, while nothing was synced or closed.
    let crashed = TempDir::new().unwrap();
    copy(folder.path(), crashed.path());
    assert_eq!(open(&crashed).scan(b"k/").count(), 10);
    assert_eq!(writer.counts().syncs, 0);
}
