//! What a process that ended left in the journal, the next goes on with.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use dlpack::registry::{Interrupt, Pushed, RequestKind, Settings};
use dlpack::store::{Policy, Store, UploadName, UploadState};
use tempfile::TempDir;

use super::{Embedded, Parcel, Process, block_on, uploaded};
use crate::support::line::Line;

const SIZE: usize = 8 << 20;

/// Pushes over `line` until `bytes` went, and then is no more, as a process that is
/// killed: what it awaits is dropped.
pub fn push_and_die(parcel: &Parcel, line: &Line, journal: &Path, bytes: u64) {
    // slow enough to be caught in the middle, whatever else the machine does
    let settings = Settings { limit_rate: Some("4M".parse().unwrap()), ..Settings::default() };
    let process = Process::with(line.address(), Some(journal), settings);
    block_on(async {
        tokio::select! {
            pushed = parcel.push(&process.repository) => panic!("it was not caught: {pushed:?}"),
            () = gone(line, bytes) => {}
        }
    });
}

/// Pushes over `line` until `bytes` went, and then is told to end, as by SIGTERM, and does.
pub fn push_and_end(parcel: &Parcel, line: &Line, journal: &Path, bytes: u64) {
    let interrupt = Interrupt::default();
    let settings = Settings {
        limit_rate: Some("4M".parse().unwrap()),
        interrupt: interrupt.clone(),
        chunk: Some(4 << 20),
        ..Settings::default()
    };
    let process = Process::with(line.address(), Some(journal), settings);
    block_on(async {
        let mut push = std::pin::pin!(parcel.push(&process.repository));
        tokio::select! {
            pushed = &mut push => panic!("it was not caught: {pushed:?}"),
            () = gone(line, bytes) => interrupt.tell(),
        }
        tokio::select! {
            pushed = push => panic!("it went on: {pushed:?}"),
            () = interrupt.settled() => {}
        }
    });
}

/// Waits until `bytes` went over the line.
async fn gone(line: &Line, bytes: u64) {
    while line.sent() < bytes {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn journal_of(directory: &TempDir) -> Vec<fs::DirEntry> {
    let entries = fs::read_dir(directory.path().join("uploads")).map(|entries| entries.map(Result::unwrap).collect());
    entries.unwrap_or_default()
}

#[test]
fn the_next_process_sends_what_the_registry_does_not_have() {
    let served = Embedded::start();
    let directory = tempfile::tempdir().unwrap();
    let parcel = Parcel::of(SIZE, 21);
    let line = Line::to(served.address(), Vec::new());
    push_and_die(&parcel, &line, directory.path(), 3 << 20);
    assert_eq!(journal_of(&directory).len(), 2, "the entry and its lock");

    let (next, size) = (Process::new(line.address(), Some(directory.path())), parcel.size());
    let (pushed, sent, kept) = block_on(parcel.push_telling(&next.repository));
    let (bytes, resumed) = uploaded(pushed);
    assert!(resumed >= 2 << 20, "{resumed}");
    assert_eq!((bytes, sent, kept), (size - resumed, size - resumed, resumed), "what was there counts as not sent");
    assert_eq!(next.count(RequestKind::BeginUpload), 0);
    assert_eq!(served.received(), size, "not a byte was taken twice");
    block_on(parcel.assert_is_at(&next.repository));
    assert_eq!(journal_of(&directory).len(), 0, "it is done");
}

#[test]
fn a_session_that_the_registry_has_forgotten_meanwhile_begins_anew() {
    let served = Embedded::start();
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let base = format!("http://{}/v2/team/env/blobs/uploads/", served.address());
    let forgotten = format!("{base}0123");
    let gone = "https://127.0.0.2:9/upload";
    let locations = [(22, forgotten.as_str()), (23, "http://127.0.0.2:9/v2/"), (24, "no address"), (25, gone)];
    for (seed, location) in locations {
        let parcel = Parcel::of(SIZE / 4, seed);
        let name = UploadName {
            registry: served.address(),
            repository: "team/env".into(),
            blob: parcel.descriptor.digest.to_string(),
        };
        let entry = store.upload(&name).unwrap().unwrap();
        entry.put(&UploadState { location: location.into(), offset: 1 << 20, minimum: 0 }).unwrap();
        drop(entry);
        let process = Process::new(&served.address(), Some(directory.path()));
        let pushed = block_on(parcel.push(&process.repository)).unwrap();
        assert_eq!(pushed, Pushed::Uploaded { bytes: parcel.size(), resumed: 0 }, "{location}");
    }
    assert_eq!(journal_of(&directory).len(), 0);
}

#[test]
fn two_processes_that_upload_the_same_blob_have_a_session_each() {
    let served = Embedded::start();
    let directory = tempfile::tempdir().unwrap();
    let parcel = Parcel::of(SIZE, 25);
    let processes = [(); 2].map(|()| Process::new(&served.address(), Some(directory.path())));
    block_on(async {
        let [one, other] = &processes;
        let both = futures_util::future::join(parcel.push(&one.repository), parcel.push(&other.repository)).await;
        both.0.unwrap();
        both.1.unwrap();
        parcel.assert_is_at(&one.repository).await;
    });
    let requests = served.server.requests();
    assert!(requests.iter().all(|request| request.status != Some(416)), "nobody got in the other's way");
    let begun: usize = processes.iter().map(|process| process.count(RequestKind::BeginUpload)).sum();
    let found = requests.iter().filter(|it| it.method == "HEAD" && it.status == Some(200)).count();
    assert_eq!(begun + found, 2);
}

#[test]
fn an_entry_is_its_holders_alone_and_nobody_elses_to_read() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let name = |blob: &str| UploadName { registry: "r:1".into(), repository: "a/b".into(), blob: blob.into() };
    let state = UploadState { location: "http://r:1/v2/?_state=secret".into(), offset: 7, minimum: 5 };
    let entry = store.upload(&name("x")).unwrap().unwrap();
    assert_eq!(entry.state(), None);
    entry.put(&state).unwrap();
    assert_eq!(entry.state(), Some(state.clone()));
    assert!(store.upload(&name("x")).unwrap().is_none(), "it is held");
    assert!(store.upload(&name("y")).unwrap().is_some_and(|other| other.state().is_none()));
    let file = journal_of(&directory).into_iter().find(|file| file.path().extension().unwrap() == "json").unwrap();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    drop(entry);
    let entry = store.upload(&name("x")).unwrap().unwrap();
    assert_eq!(entry.state(), Some(state));
    fs::write(file.path(), "{").unwrap();
    assert_eq!(entry.state(), None, "what can't be read counts as nothing");
    entry.end();
    assert!(!file.path().exists());
}

#[test]
fn a_collection_removes_what_no_registry_remembers() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let put = |blob: &str| {
        let name = UploadName { registry: "r:1".into(), repository: "a/b".into(), blob: blob.into() };
        let entry = store.upload(&name).unwrap().unwrap();
        entry.put(&UploadState { location: "http://r:1/".into(), offset: 7, minimum: 0 }).unwrap();
        entry
    };
    let (held, _, _) = (put("held"), put("fresh"), put("old"));
    let old: Vec<_> = journal_of(&directory)
        .into_iter()
        .filter(|file| {
            let text = fs::read_to_string(file.path()).unwrap();
            text.contains("\"old\"") || text.contains("\"held\"")
        })
        .collect();
    for file in &old {
        let eight_days = SystemTime::now() - Duration::from_secs(8 * 24 * 60 * 60);
        fs::File::options().write(true).open(file.path()).unwrap().set_modified(eight_days).unwrap();
    }
    let collected = store.gc(&Policy::default()).unwrap();
    assert_eq!(collected.leftovers, 2, "the old entry and its lock");
    assert_eq!(journal_of(&directory).len(), 4);
    assert!(held.state().is_none(), "one that is too old says nothing, even while it is held");
    assert_eq!(store.gc(&Policy::default()).unwrap().leftovers, 0);
}

#[test]
fn an_upload_without_room_for_its_journal_goes_its_way() {
    let served = Embedded::start();
    let directory = tempfile::tempdir().unwrap();
    let parcel = Parcel::of(SIZE, 26);
    let process = Process::new(&served.address(), Some(directory.path()));
    fs::write(directory.path().join("uploads"), "no directory").unwrap();
    uploaded(block_on(parcel.push(&process.repository)));
    block_on(parcel.assert_is_at(&process.repository));
}

#[test]
fn an_upload_that_is_told_to_end_does_so_in_order() {
    let served = Embedded::start();
    let directory = tempfile::tempdir().unwrap();
    let parcel = Parcel::of(SIZE, 27);
    let line = Line::to(served.address(), Vec::new());
    push_and_end(&parcel, &line, directory.path(), 2 << 20);
    let broken = served.server.requests().into_iter().filter(|request| request.status != Some(202));
    assert_eq!(broken.filter(|request| request.method == "PATCH").count(), 0, "no request broke off");
    let next = Process::new(line.address(), Some(directory.path()));
    let (_, resumed) = uploaded(block_on(parcel.push(&next.repository)));
    assert!(resumed >= 1 << 20, "{resumed}");
    assert_eq!(served.received(), parcel.size());
}
