//! Pushing to a registry that breaks off, forgets, lies, or declines.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use dlpack::oci::{Digest, media_type};
use dlpack::registry::serve::{Exchange, Fault, What};
use dlpack::registry::{BlobOrigin, Error, ErrorKind, Pushed, RequestKind, Settings, Transfer};
use dlpack::store::{self, Area, Store};

use super::{Embedded, Watched, blob, block_on, pulled};
use crate::support::shown::Shown;

const SIZE: u64 = 3_000_000;

/// What came of a push with faults in the way.
struct Outcome {
    pushed: Result<Pushed, Error>,
    sent: Vec<RequestKind>,
    told: u64,
    pauses: usize,
    requests: Vec<Exchange>,
}

/// Pushes a blob of [`SIZE`] bytes through `faults`; afterwards an honest push
/// must succeed and the blob must be whole.
fn push_through(faults: Vec<Fault>) -> Outcome {
    let served = Embedded::start();
    let watched = Watched::new(Settings::default());
    let repository = watched.repository(&served.reference("image"));
    let base = watched.repository(&served.reference("base"));
    let (layer, bytes) = blob(SIZE as usize, 31);
    let origin = BlobOrigin::Bytes(bytes.clone());
    block_on(async {
        base.push_blob(&layer, &origin, None, &|_| ()).await.unwrap();
        watched.sent();
        served.server.clear_requests();
        served.server.set_faults(faults);
        let told = AtomicU64::new(0);
        let tell = |moved| {
            let Transfer::Sent(bytes) = moved else { panic!("nothing was there") };
            told.fetch_add(bytes, Ordering::Relaxed);
        };
        // The first try finds no mount: the registry is asked to decline it where a test wants that.
        let pushed = repository.push_blob(&layer, &origin, None, &tell).await;
        let (sent, requests, pauses) = (watched.sent(), served.server.requests(), watched.pauses().len());
        served.server.set_faults(Vec::new());
        repository.push_blob(&layer, &origin, None, &|_| ()).await.unwrap();
        assert!(pulled(&repository, &layer).await.unwrap() == bytes);
        Outcome { pushed, sent, told: told.into_inner(), pauses, requests }
    })
}

fn heals(fault: Fault) -> Outcome {
    let outcome = push_through(vec![fault]);
    assert!(matches!(outcome.pushed, Ok(Pushed::Uploaded { .. })), "{:?}", outcome.pushed);
    assert_eq!(outcome.told, SIZE, "progress adds up to the blob's size");
    assert_eq!(outcome.pauses, 1);
    outcome
}

use RequestKind::{BeginUpload, HeadBlob, PatchUpload, PutUpload, UploadStatus};

#[test]
fn a_connection_reset_in_the_middle_goes_on_where_the_registry_stands() {
    let outcome = heals(Fault::on("PUT", "/blobs/uploads/", What::BreakRequest(1_000_000)));
    assert_eq!(outcome.sent[..5], [HeadBlob, BeginUpload, PutUpload, HeadBlob, UploadStatus]);
    if outcome.sent.contains(&PatchUpload) {
        let patch = outcome.requests.iter().find(|request| request.method.as_str() == "PATCH").unwrap();
        assert!(patch.received < SIZE, "only the rest is sent");
        let range = patch.headers["content-range"].to_str().unwrap();
        assert_eq!(range, format!("{}-{}", SIZE - patch.received, SIZE - 1));
    }
}

#[test]
fn a_session_that_is_forgotten_begins_anew() {
    let outcome = push_through(vec![Fault::on("PUT", "/blobs/uploads/", What::ForgetSession)]);
    assert_eq!(outcome.pushed.unwrap(), Pushed::Uploaded { bytes: 2 * SIZE, resumed: 0 });
    assert_eq!(outcome.sent, [HeadBlob, BeginUpload, PutUpload, HeadBlob, UploadStatus, BeginUpload, PutUpload]);
}

#[test]
fn an_answer_lost_after_everything_was_stored_costs_one_head_and_no_byte() {
    let outcome = heals(Fault::on("PUT", "/blobs/uploads/", What::LoseAnswer));
    assert_eq!(outcome.sent, [HeadBlob, BeginUpload, PutUpload, HeadBlob]);
    assert_eq!(outcome.pushed.unwrap(), Pushed::Uploaded { bytes: SIZE, resumed: 0 });
}

#[test]
fn a_failing_or_busy_server_is_asked_again() {
    for (status, headers) in [(503, vec![]), (500, vec![]), (429, vec![("retry-after", "3".to_owned())])] {
        for (method, target) in [("PUT", "/blobs/uploads/"), ("POST", "/blobs/uploads/"), ("HEAD", "/blobs/")] {
            heals(Fault::on(method, target, What::Answer(status, headers.clone(), vec![])));
        }
    }
}

#[test]
fn a_registry_that_keeps_failing_is_given_up_with_what_it_said() {
    let body = br#"{"errors":[{"code":"DENIED","message":"the quota is used up"}]}"#.to_vec();
    let outcome = push_through(vec![Fault::on("PUT", "/blobs/uploads/", What::Answer(403, vec![], body)).always()]);
    let error = outcome.pushed.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert!(error.to_string().ends_with("answers 403 Forbidden: the quota is used up"), "{error}");
    assert_eq!(outcome.pauses, 0, "a refusal is not tried again");

    let always = Fault::on("PUT", "/blobs/uploads/", What::Answer(502, vec![], b"<html>".to_vec())).always();
    let outcome = push_through(vec![always]);
    assert_eq!(outcome.pushed.unwrap_err().kind(), ErrorKind::Network);
    assert_eq!(outcome.pauses, 5);

    let absurd = What::Answer(503, vec![("retry-after", "3153600000".into())], vec![]);
    let outcome = push_through(vec![Fault::on("POST", "/blobs/uploads/", absurd)]);
    assert!(matches!(outcome.pushed, Err(Error::AskedToWait { .. })), "{:?}", outcome.pushed);
}

#[test]
fn a_registry_that_takes_no_whole_blob_gets_it_by_patch() {
    let outcome = push_through(vec![Fault::on("PUT", "/blobs/uploads/", What::Answer(405, vec![], vec![]))]);
    assert!(outcome.pushed.is_ok());
    assert_eq!(outcome.sent[outcome.sent.len() - 2..], [PatchUpload, PutUpload]);
}

#[test]
fn locations_may_be_relative_and_carry_a_query_but_not_lead_to_an_unencrypted_elsewhere() {
    let location = |to: &str| What::Header("location", to.to_owned());
    let faults =
        vec![Fault::on("POST", "/blobs/uploads/", location("http://127.0.0.2:9/v2/image/blobs/uploads/1")).always()];
    let error = push_through(faults).pushed.unwrap_err();
    assert!(matches!(error, Error::Location { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.2:9"));
    let error = push_through(vec![Fault::on("POST", "/blobs/uploads/", What::NoHeader("location")).always()]).pushed;
    assert!(matches!(error, Err(Error::Header { header: "Location", .. })));
}

#[test]
fn a_registry_that_says_it_stored_something_else_is_not_believed() {
    let other = Digest::of(b"something else").to_string();
    let lie = || What::Header("docker-content-digest", other.clone());
    let error = push_through(vec![Fault::on("PUT", "/blobs/uploads/", lie())]).pushed.unwrap_err();
    assert!(matches!(error, Error::Stored { .. }), "{error}");
    let served = Embedded::start();
    let repository = Watched::new(Settings::default()).repository(&served.reference("image"));
    served.fault(Fault::on("PUT", "/manifests/", What::Header("docker-content-digest", other.clone())));
    let index = br#"{"schemaVersion":2,"manifests":[]}"#;
    let error = block_on(repository.push_manifest("tag", media_type::INDEX, index)).unwrap_err();
    assert!(matches!(error, Error::Stored { .. }), "{error}");
}

#[test]
fn a_manifest_is_put_again_after_what_passes() {
    let served = Embedded::start();
    let repository = Watched::new(Settings::default()).repository(&served.reference("image"));
    let index = br#"{"schemaVersion":2,"manifests":[]}"#;
    for what in [What::BreakRequest(5), What::LoseAnswer, What::Answer(503, vec![], vec![])] {
        served.fault(Fault::on("PUT", "/manifests/", what));
        let digest = block_on(repository.push_manifest("tag", media_type::INDEX, index)).unwrap();
        assert_eq!(digest, Digest::of(index));
    }
}

/// Pushes a blob that may be mounted, with `faults` in the way.
fn mount_through(faults: Vec<Fault>) -> (Pushed, Vec<RequestKind>) {
    let served = Embedded::start();
    let watched = Watched::new(Settings::default());
    let (base, image) = (watched.repository(&served.reference("base")), watched.repository(&served.reference("image")));
    let (layer, bytes) = blob(50_000, 32);
    block_on(async {
        base.push_blob(&layer, &BlobOrigin::Bytes(bytes.clone()), None, &|_| ()).await.unwrap();
        watched.sent();
        served.server.set_faults(faults);
        let origin = BlobOrigin::Repository(Box::new(base.clone()));
        let pushed = image.push_blob(&layer, &origin, Some(&base), &|_| ()).await.unwrap();
        let sent = watched.sent();
        assert_eq!(pulled(&image, &layer).await.unwrap(), bytes);
        (pushed, sent)
    })
}

#[test]
fn a_mount_is_made_declined_or_refused_and_the_blob_arrives_all_the_same() {
    use RequestKind::{GetBlob, MountBlob};
    let uploaded = Pushed::Uploaded { bytes: 50_000, resumed: 0 };
    assert_eq!(mount_through(vec![]), (Pushed::Mounted, vec![HeadBlob, MountBlob]));
    let (pushed, mut sent) = mount_through(vec![Fault::on("POST", "mount=", What::DeclineMount)]);
    sent.sort();
    assert_eq!((pushed, sent), (uploaded, vec![HeadBlob, GetBlob, MountBlob, PutUpload]));
    for status in [400, 403, 404, 405] {
        let (pushed, sent) = mount_through(vec![Fault::on("POST", "mount=", What::Answer(status, vec![], vec![]))]);
        assert_eq!(pushed, uploaded);
        assert_eq!(sent[..3], [HeadBlob, MountBlob, BeginUpload]);
    }
}

#[test]
fn a_source_registry_that_breaks_off_is_resumed_while_the_target_waits() {
    let break_off = Fault::on("GET", "/v2/base/blobs/", What::BreakAnswer(20_000));
    let (pushed, sent) = mount_through(vec![Fault::on("POST", "mount=", What::DeclineMount), break_off]);
    assert_eq!(pushed, Pushed::Uploaded { bytes: 50_000, resumed: 0 });
    assert_eq!(sent.iter().filter(|kind| **kind == PutUpload).count(), 1);
}

#[test]
fn a_source_registry_that_lies_leaves_nothing_at_the_target() {
    let served = Embedded::start();
    let watched = Watched::new(Settings::default());
    let (base, image) = (watched.repository(&served.reference("base")), watched.repository(&served.reference("image")));
    let (layer, bytes) = blob(400_000, 33);
    block_on(async {
        base.push_blob(&layer, &BlobOrigin::Bytes(bytes), None, &|_| ()).await.unwrap();
        served.fault(Fault::on("GET", "/v2/base/blobs/", What::Flip(1000)));
        let origin = BlobOrigin::Repository(Box::new(base.clone()));
        let error = image.push_blob(&layer, &origin, None, &|_| ()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
        let Error::OriginRepository { source, .. } = &error else { panic!("{error}") };
        assert!(matches!(**source, Error::Digest { .. }), "{source}");
        assert!(!image.has_blob(&layer).await.unwrap());
        let mut shown = Shown::new();
        shown.replace(served.reference("base").trim_end_matches("/base"), "REGISTRY");
        shown.add("a source that lies", error);
        shown.is("registries/sources");
    });
}

#[test]
fn an_origin_that_is_not_the_blob_is_an_error_of_its_own_and_is_not_tried_again() {
    let served = Embedded::start();
    let watched = Watched::new(Settings::default());
    let image = watched.repository(&served.reference("image"));
    let (layer, bytes) = blob(600_000, 34);
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let push = |origin: BlobOrigin| {
        let error = block_on(image.push_blob(&layer, &origin, None, &|_| ())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Local, "{error}");
        assert!(watched.pauses().is_empty());
        error
    };
    assert!(matches!(push(BlobOrigin::Store(store.clone())), Error::OriginMissing { .. }));
    store.put(Area::Blobs, &bytes).unwrap();
    let mut damaged = bytes.to_vec();
    damaged[0] ^= 1;
    std::fs::write(store.path(Area::Blobs, &layer.digest), &damaged).unwrap();
    let error = push(BlobOrigin::Store(store.clone()));
    let Error::OriginStore { source, .. } = error else { panic!("{error}") };
    assert!(matches!(*source, store::Error::Damaged { .. }), "{source}");
    assert!(store.size(Area::Blobs, &layer.digest).is_none(), "the damaged file is gone");

    let short = damaged.clone();
    push(BlobOrigin::reader(move || Ok(Box::new(io::Cursor::new(short.clone())))));
    push(BlobOrigin::reader(|| Ok(Box::new(io::empty()))));
    push(BlobOrigin::reader(|| Ok(Box::new(io::repeat(0).take(SIZE)))));
    push(BlobOrigin::reader(|| Err(io::Error::other("no"))));
    push(BlobOrigin::Bytes(bytes.slice(1..)));
    block_on(image.push_blob(&layer, &BlobOrigin::Bytes(bytes), None, &|_| ())).unwrap();
}

#[test]
fn a_blob_without_a_byte_is_a_blob() {
    let served = Embedded::start();
    let image = Watched::new(Settings::default()).repository(&served.reference("image"));
    let (empty, bytes) = blob(0, 0);
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.put(Area::Blobs, &bytes).unwrap();
        let pushed = image.push_blob(&empty, &BlobOrigin::Store(store), None, &|_| ()).await.unwrap();
        assert_eq!(pushed, Pushed::Uploaded { bytes: 0, resumed: 0 });
        assert_eq!(pulled(&image, &empty).await.unwrap(), b"");
    });
}
