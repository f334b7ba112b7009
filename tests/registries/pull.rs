//! Pulling from a registry that breaks off, lies, or sends one elsewhere.

use std::time::{Duration, SystemTime};

use dlpack::oci::{Digest, InvalidManifest, MAX_MANIFEST, Manifest, ManifestOrIndex, media_type, parse_manifest};
use dlpack::registry::serve::{Fault, Features, Options, What};
use dlpack::registry::{BlobOrigin, Error, ErrorKind, Repository, RequestKind, Retry, Settings};

use super::{Embedded, Watched, blob, block_on, pulled};

const SIZE: usize = 3_000_000;

/// Pulls a blob of [`SIZE`] bytes with `fault` on it: what came of it, how many
/// pauses there were, and which ranges were asked for. Afterwards an honest pull
/// must succeed.
fn pull_through(options: Options, fault: Fault) -> (Result<(), Error>, usize, Vec<Option<String>>) {
    let served = Embedded::with(options);
    let watched = Watched::new(Settings::default());
    let repository = watched.repository(&served.reference("image"));
    let (layer, bytes) = blob(SIZE, 21);
    block_on(async {
        repository.push_blob(&layer, &BlobOrigin::Bytes(bytes.clone()), None, &|_| ()).await.unwrap();
        served.server.clear_requests();
        served.fault(fault);
        let result = pulled(&repository, &layer).await.map(|found| assert!(found == bytes));
        let range =
            |get: dlpack::registry::serve::Exchange| Some(get.headers.get("range")?.to_str().unwrap().to_owned());
        let ranges = served.requests("GET", "").into_iter().map(range).collect();
        let pauses = watched.pauses().len();
        served.server.set_faults(Vec::new());
        assert!(pulled(&repository, &layer).await.unwrap() == bytes, "an honest pull succeeds");
        (result, pauses, ranges)
    })
}

fn heals(fault: Fault) -> Vec<Option<String>> {
    let (result, pauses, ranges) = pull_through(Options::default(), fault);
    result.unwrap();
    assert_eq!(pauses, 1);
    assert_eq!(ranges.len(), 2);
    ranges
}

fn fails(fault: Fault) -> Error {
    pull_through(Options::default(), fault.always()).0.unwrap_err()
}

#[test]
fn a_body_that_breaks_off_goes_on_where_it_stood() {
    let ranges = heals(Fault::on("GET", "/blobs/", What::BreakAnswer(1_000_000)));
    let from: usize = ranges[1].as_ref().unwrap()["bytes=".len()..].trim_end_matches('-').parse().unwrap();
    assert!(ranges[0].is_none() && (1..=1_000_000).contains(&from), "{ranges:?}");
}

#[test]
fn a_body_that_always_breaks_off_at_the_same_place_is_given_up_by_its_address() {
    let error = fails(Fault::on("GET", "/blobs/", What::BreakAnswer(100_000)));
    assert_eq!(error.kind(), ErrorKind::Network);
    assert!(error.to_string().contains("/v2/image/blobs/sha256:"), "{error}");
}

#[test]
fn a_server_that_ignores_ranges_is_read_from_the_beginning_and_what_is_known_is_skipped() {
    let features = Features { range: false, ..Features::default() };
    let options = Options { features, ..Options::default() };
    let (result, _, ranges) = pull_through(options, Fault::on("GET", "/blobs/", What::BreakAnswer(1_000_000)));
    result.unwrap();
    assert_eq!(ranges.len(), 2);
}

#[test]
fn a_connection_lost_before_the_answer_is_tried_again() {
    heals(Fault::on("GET", "/blobs/", What::LoseAnswer));
}

#[test]
fn a_server_that_falls_silent_is_left_and_asked_for_the_rest() {
    let mut retry = Retry::default();
    retry.silence = Duration::from_millis(300);
    let served = Embedded::start();
    let watched = Watched::new(Settings { retry, ..Settings::default() });
    let repository = watched.repository(&served.reference("image"));
    let (layer, bytes) = blob(SIZE, 26);
    block_on(async {
        repository.push_blob(&layer, &BlobOrigin::Bytes(bytes.clone()), None, &|_| ()).await.unwrap();
        served.fault(Fault::on("GET", "/blobs/", What::Stall(1_000_000)));
        assert!(pulled(&repository, &layer).await.unwrap() == bytes);
        assert_eq!(watched.pauses().len(), 1);
    });
}

#[test]
fn a_failing_server_is_asked_again() {
    heals(Fault::on("GET", "/blobs/", What::Answer(503, vec![], vec![])));
    let error = fails(Fault::on("GET", "/blobs/", What::Answer(503, vec![], vec![])));
    assert_eq!(error.kind(), ErrorKind::Network);
}

#[test]
fn a_length_that_lies_is_an_error_by_name() {
    for what in [What::Shorten(1), What::Lengthen(7)] {
        heals(Fault::on("GET", "/blobs/", what.clone()));
        let error = fails(Fault::on("GET", "/blobs/", what));
        assert!(matches!(error, Error::Length { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Integrity);
    }
}

#[test]
fn bytes_that_are_not_the_digests_are_an_error_by_name_and_not_asked_for_again() {
    for at in [0, SIZE as u64 - 1] {
        let (result, pauses, ranges) = pull_through(Options::default(), Fault::on("GET", "/blobs/", What::Flip(at)));
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Digest { .. }), "{error}");
        assert_eq!((pauses, ranges.len()), (0, 1));
    }
}

#[test]
fn another_range_than_was_asked_for_is_not_taken() {
    let served = Embedded::start();
    let watched = Watched::new(Settings::default());
    let repository = watched.repository(&served.reference("image"));
    let (layer, bytes) = blob(SIZE, 22);
    block_on(async {
        repository.push_blob(&layer, &BlobOrigin::Bytes(bytes), None, &|_| ()).await.unwrap();
        let lie = What::Header("content-range", format!("bytes 0-{}/{SIZE}", SIZE - 1));
        served.server.set_faults(vec![
            Fault::on("GET", "/blobs/", What::BreakAnswer(500_000)),
            Fault::on("GET", "/blobs/", lie).always(),
        ]);
        let error = pulled(&repository, &layer).await.unwrap_err();
        // what of the first half-megabyte had arrived when the connection broke is the network's
        assert!(matches!(error, Error::Range { offset: 1..=500_000, .. }), "{error}");
    });
}

#[test]
fn retry_after_is_obeyed_in_seconds_and_as_a_date_and_refused_when_absurd() {
    let answer = |wait: String| Fault::on("GET", "/blobs/", What::Answer(429, vec![("retry-after", wait)], vec![]));
    let pause = |fault| {
        let served = Embedded::start();
        let watched = Watched::new(Settings::default());
        let repository = watched.repository(&served.reference("image"));
        let (layer, bytes) = blob(1000, 23);
        block_on(async {
            repository.push_blob(&layer, &BlobOrigin::Bytes(bytes), None, &|_| ()).await.unwrap();
            served.fault(fault);
            pulled(&repository, &layer).await.map(|_| watched.pauses())
        })
    };
    assert_eq!(pause(answer("7".into())).unwrap(), [Duration::from_secs(7)]);
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
    let waited = pause(answer(date)).unwrap();
    assert!(waited.len() == 1 && waited[0] > Duration::from_secs(30) && waited[0] <= Duration::from_secs(60));
    let past = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH);
    assert!(pause(answer(past)).unwrap()[0] <= Duration::from_millis(500));
    assert!(pause(answer("soon".into())).unwrap()[0] <= Duration::from_millis(500));
    for absurd in ["86400", "99999999999999999999999", "Fri, 31 Dec 2066 23:59:59 GMT"] {
        let error = pause(answer(absurd.into())).unwrap_err();
        assert!(matches!(error, Error::AskedToWait { .. }), "{error}");
        assert!(error.to_string().ends_with("more than the 120 seconds that dlpack waits"), "{error}");
    }
}

/// A repository with a manifest under `tag`, and the answer to a pull of it with `fault`.
fn manifest_through(fault: Fault) -> Result<(), Error> {
    let served = Embedded::start();
    let watched = Watched::new(Settings::default());
    let repository = watched.repository(&served.reference("image"));
    block_on(async {
        let manifest = push_manifest(&repository).await;
        served.fault(fault);
        let result = repository.manifest("tag").await.map(|(_, bytes)| assert_eq!(bytes, manifest));
        served.server.set_faults(Vec::new());
        repository.manifest("tag").await.unwrap();
        result
    })
}

async fn push_manifest(repository: &Repository) -> Vec<u8> {
    let (config, bytes) = blob(10, 24);
    repository.push_blob(&config, &BlobOrigin::Bytes(bytes), None, &|_| ()).await.unwrap();
    let manifest = serde_json::to_vec(&Manifest::new(config, Vec::new())).unwrap();
    repository.push_manifest("tag", media_type::MANIFEST, &manifest).await.unwrap();
    manifest
}

#[test]
fn a_manifest_survives_what_passes() {
    manifest_through(Fault::on("GET", "/manifests/", What::BreakAnswer(10))).unwrap();
    manifest_through(Fault::on("GET", "/manifests/", What::LoseAnswer)).unwrap();
    manifest_through(Fault::on("GET", "/manifests/", What::Answer(502, vec![], vec![]))).unwrap();
    manifest_through(Fault::on("GET", "/manifests/", What::NoHeader("docker-content-digest"))).unwrap();
}

#[test]
fn a_manifest_of_a_tag_with_one_bit_flipped_is_refused() {
    let error = manifest_through(Fault::on("GET", "/manifests/", What::Flip(20))).unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
}

#[test]
fn a_manifest_that_is_too_large_or_mislabelled_is_an_error_by_name() {
    let fails = |what| manifest_through(Fault::on("GET", "/manifests/", what).always()).unwrap_err();
    let error = fails(What::Lengthen(MAX_MANIFEST));
    assert!(matches!(error, Error::TooLarge { limit: MAX_MANIFEST, .. }), "{error}");
    let error = fails(What::Header("content-type", media_type::INDEX.into()));
    assert!(matches!(&error, Error::Manifest { source: InvalidManifest::MediaType { .. }, .. }), "{error}");
    let error = fails(What::Header("content-type", "text/html".into()));
    assert!(matches!(&error, Error::Manifest { .. }), "{error}");
    let error = fails(What::NoHeader("content-type"));
    assert!(matches!(error, Error::Header { header: "Content-Type", .. }), "{error}");
    let error = fails(What::Header("docker-content-digest", "sha256:short".into()));
    assert!(matches!(error, Error::Header { header: "Docker-Content-Digest", .. }), "{error}");
    let both = br#"{"schemaVersion":2,"layers":[],"manifests":[]}"#.to_vec();
    let error = fails(What::Answer(200, vec![("content-type", media_type::MANIFEST.into())], both));
    assert!(matches!(&error, Error::Manifest { source: InvalidManifest::Ambiguous { .. }, .. }), "{error}");
}

#[test]
fn a_redirect_to_another_host_is_followed_without_authorization() {
    use dlpack::registry::serve::Auth;
    use dlpack::registry::{Credential, Credentials};
    let auth = Auth::Basic { user: "me".into(), password: "secret".into() };
    let ours = Embedded::with(Options { auth: Some(auth), ..Options::default() });
    let theirs = Embedded::start();
    let credentials = Credentials::only(&ours.server.address().to_string(), Credential::basic("me", "secret"));
    let watched = Watched::new(Settings { credentials, ..Settings::default() });
    let (layer, bytes) = blob(5000, 25);
    block_on(async {
        let there = watched.repository(&theirs.reference("image"));
        there.push_blob(&layer, &BlobOrigin::Bytes(bytes.clone()), None, &|_| ()).await.unwrap();
        let here = watched.repository(&ours.reference("image"));
        let location = format!("http://{}/v2/image/blobs/{}?signed=secret", theirs.server.address(), layer.digest);
        ours.fault(Fault::on("GET", "/blobs/", What::Answer(307, vec![("location", location)], vec![])).always());
        theirs.server.clear_requests();
        assert_eq!(pulled(&here, &layer).await.unwrap(), bytes);
        assert!(ours.requests("GET", "").last().unwrap().headers.contains_key("authorization"));
        assert!(!theirs.requests("GET", "").last().unwrap().headers.contains_key("authorization"));

        let around = format!("http://{}/v2/image/blobs/{}", ours.server.address(), layer.digest);
        ours.fault(Fault::on("GET", "/blobs/", What::Answer(302, vec![("location", around)], vec![])).always());
        let error = pulled(&here, &layer).await.unwrap_err();
        assert!(error.to_string().contains("was redirected more than 10 times"), "{error}");
    });
}

#[test]
fn lists_go_on_over_pages_and_end() {
    let served = Embedded::start();
    let watched = Watched::new(Settings::default());
    let repository = watched.repository(&served.reference("image"));
    block_on(async {
        let manifest = push_manifest(&repository).await;
        for tag in ["a", "b", "c"] {
            repository.push_manifest(tag, media_type::MANIFEST, &manifest).await.unwrap();
        }
        assert_eq!(repository.tags().await.unwrap(), ["a", "b", "c", "tag"]);
        // A server that gives two at a time, the next page by a relative link.
        let link = "</v2/image/tags/list?n=1000&last=b>; rel=\"next\"".to_owned();
        let page = br#"{"name":"image","tags":["a","b"]}"#.to_vec();
        served.fault(Fault::on("GET", "/tags/list", What::Answer(200, vec![("link", link)], page.clone())));
        assert_eq!(repository.tags().await.unwrap(), ["a", "b", "c", "tag"]);
        let elsewhere = "<http://127.0.0.2:1/v2/image/tags/list>; rel=\"next\"".to_owned();
        served.fault(Fault::on("GET", "/tags/list", What::Answer(200, vec![("link", elsewhere)], page)));
        assert!(matches!(repository.tags().await, Err(Error::Header { header: "Link", .. })));
        assert!(watched.sent().contains(&RequestKind::List));
    });
}

#[test]
fn what_refers_to_a_manifest_is_listed_by_type_and_a_registry_without_referrers_has_none() {
    let served = Embedded::start();
    let watched = Watched::new(Settings::default());
    let repository = watched.repository(&served.reference("image"));
    block_on(async {
        let subject = Digest::of(&push_manifest(&repository).await);
        let (found, bytes) = repository.manifest("tag").await.unwrap();
        let ManifestOrIndex::Manifest(mut record) = parse_manifest(&bytes, &found.media_type).unwrap() else {
            panic!("a manifest")
        };
        record.artifact_type = Some("application/vnd.example.record".into());
        record.subject = Some(found);
        let record = serde_json::to_vec(&record).unwrap();
        let digest = Digest::of(&record);
        repository.push_manifest(&digest.to_string(), media_type::MANIFEST, &record).await.unwrap();
        let all = repository.referrers(&subject, None).await.unwrap();
        assert_eq!(all.iter().map(|referrer| referrer.descriptor.digest).collect::<Vec<_>>(), [digest]);
        let typed = repository.referrers(&subject, Some("application/vnd.example.record")).await.unwrap();
        assert_eq!(typed, all);
        assert!(repository.referrers(&subject, Some("application/vnd.example.other")).await.unwrap().is_empty());
    });
    let debian = crate::support::registry::DebianRegistry::start();
    let repository = watched.repository(&debian.reference("image"));
    assert_eq!(block_on(repository.referrers(&Digest::of(b"x"), None)).unwrap(), []);
}

#[test]
fn a_host_that_nobody_has_heard_of_is_not_called_for_long() {
    let watched = Watched::new(Settings::default());
    // who has had this port is gone
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let repository = watched.repository(&format!("127.0.0.1:{port}/team/env:1"));
    block_on(repository.manifest("1")).unwrap_err();
    let pauses = watched.pauses();
    assert!(pauses.len() == 3 && pauses.iter().sum::<Duration>() < Duration::from_secs(4), "{pauses:?}");
}
