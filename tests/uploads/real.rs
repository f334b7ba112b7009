//! Debian's docker-registry: it forgets an upload whose request breaks off, and keeps
//! one whose requests all came to their end.

use dlpack::registry::RequestKind;

use super::journal::{push_and_die, push_and_end};
use super::{CHUNK, Parcel, Process, block_on, uploaded};
use crate::support::line::Line;
use crate::support::registry::DebianRegistry;

const SIZE: usize = 8 << 20;

#[test]
fn debians_registry_takes_parts_and_a_process_that_is_told_to_end_loses_none() {
    let debian = DebianRegistry::start();
    let directory = tempfile::tempdir().unwrap();
    let parcel = Parcel::of(SIZE, 31);
    let line = Line::to(debian.address(), Vec::new());
    push_and_end(&parcel, &line, directory.path(), 2 << 20);
    let next = Process::new(line.address(), Some(directory.path()));
    let (bytes, resumed) = uploaded(block_on(parcel.push(&next.repository)));
    assert!(resumed >= 1 << 20, "{resumed}");
    assert_eq!(bytes + resumed, parcel.size());
    assert!(line.sent() < parcel.size() * 11 / 10, "{} bytes went over the line", line.sent());
    block_on(parcel.assert_is_at(&next.repository));
}

#[test]
fn debians_registry_gets_the_whole_of_a_blob_again_whose_request_broke_off() {
    let debian = DebianRegistry::start();
    let directory = tempfile::tempdir().unwrap();
    let parcel = Parcel::of(SIZE, 32);
    let line = Line::to(debian.address(), vec![5 << 20]);
    push_and_die(&parcel, &line, directory.path(), 2 << 20);
    let next = Process::new(line.address(), Some(directory.path()));
    uploaded(block_on(parcel.push(&next.repository)));
    assert_eq!(line.cuts_left(), 0);
    block_on(parcel.assert_is_at(&next.repository));
}

#[test]
fn debians_registry_stands_between_parts_where_they_end() {
    let debian = DebianRegistry::start();
    let process = Process::new(debian.address(), None);
    let parcel = Parcel::of(SIZE, 33);
    uploaded(block_on(parcel.push(&process.repository)));
    block_on(parcel.assert_is_at(&process.repository));
    assert_eq!(process.count(RequestKind::PatchUpload), SIZE / CHUNK as usize - 1);
    assert_eq!(process.count(RequestKind::UploadStatus), 0);
}
