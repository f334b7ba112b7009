//! Registries that lack one thing or another.

use dlpack::registry::serve::{Auth, Fault, Features, Options, Remains, Tokens, What};
use dlpack::registry::{BlobOrigin, Credential, Credentials, Pushed, RequestKind, Settings};

use super::{CHUNK, Embedded, Parcel, Process, block_on, uploaded};
use crate::support::line::Line;

const SIZE: usize = 3_000_000;

fn served(features: Features) -> Embedded {
    Embedded::with(Options { features, ..Options::default() })
}

/// Positions on a line at which it is cut.
fn cuts(count: usize, before: u64, seed: u64) -> Vec<u64> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u64(10_000..before)).take(count).collect()
}

#[test]
fn a_blob_goes_in_parts_and_the_last_closes_its_session() {
    let served = served(Features::default());
    let process = Process::new(&served.address(), None);
    let parcel = Parcel::of(SIZE, 1);
    let (pushed, sent, kept) = block_on(parcel.push_telling(&process.repository));
    assert_eq!(pushed.unwrap(), Pushed::Uploaded { bytes: parcel.size(), resumed: 0 });
    assert_eq!((sent, kept), (parcel.size(), 0));
    let patches = (parcel.size() / CHUNK) as usize;
    assert_eq!((process.count(RequestKind::PatchUpload), process.count(RequestKind::PutUpload)), (patches, 1));
    let small = Parcel::of(CHUNK as usize, 2);
    uploaded(block_on(small.push(&process.repository)));
    assert_eq!(process.count(RequestKind::PatchUpload), patches, "what fits into one request goes in one");
}

#[test]
fn a_blob_arrives_whatever_the_registry_lacks() {
    let all = Features::default;
    let cases = [
        ("no PATCH", Features { chunked: false, ..all() }),
        ("no mount", Features { mount: false, ..all() }),
        ("no referrers", Features { referrers: false, ..all() }),
        ("no blob with the POST", Features { single_post: false, ..all() }),
        ("no status", Features { upload_status: false, ..all() }),
        ("chunks of 1 MB at least", Features { chunk_minimum: 1_000_000, ..all() }),
        ("a longer chunk than the blob", Features { chunk_minimum: 1 << 30, ..all() }),
        ("requests of 200 kB at most", Features { body_maximum: 200_000, ..all() }),
        ("parts", Features { remains: Remains::Parts, ..all() }),
        ("nothing", Features { remains: Remains::Nothing, ..all() }),
        (
            "hardly anything",
            Features {
                mount: false,
                chunked: false,
                single_post: false,
                range: false,
                referrers: false,
                upload_status: false,
                ..all()
            },
        ),
    ];
    for (case, features) in cases {
        for cut in [false, true] {
            let served = served(features);
            let parcel = Parcel::of(SIZE, 3);
            let line = Line::to(served.address(), if cut { cuts(3, 2_000_000, 4) } else { Vec::new() });
            let process = Process::new(line.address(), None);
            block_on(async {
                let base = Process::new(&served.address(), None).repository;
                let pushed = parcel.push(&process.repository).await;
                uploaded(pushed.map_err(|error| panic!("{case}, {cut}: {error:?}")));
                parcel.assert_is_at(&base).await;
            });
            let refused = served.server.requests().iter().filter(|request| request.status == Some(416)).count();
            // where nobody says how far an upload is, it has to be tried
            assert!(refused == 0 || cut && !features.upload_status, "{case}: something was too short, or out of order");
        }
    }
}

#[test]
fn an_upload_that_is_cut_ten_times_sends_hardly_more_than_its_bytes_where_sessions_are_kept() {
    let served = served(Features::default());
    let parcel = Parcel::of(8 << 20, 5);
    let line = Line::to(served.address(), cuts(10, 8 << 20, 6));
    let process = Process::with(line.address(), None, Settings { chunk: Some(32 << 20), ..Settings::default() });
    block_on(async {
        uploaded(parcel.push(&process.repository).await);
        parcel.assert_is_at(&Process::new(&served.address(), None).repository).await;
    });
    assert_eq!(line.cuts_left(), 0);
    assert_eq!(served.received(), parcel.size(), "not a byte was taken twice");
}

#[test]
fn where_whole_parts_alone_are_kept_a_cut_costs_a_part_and_not_the_blob() {
    let served = served(Features { remains: Remains::Parts, ..Features::default() });
    let parcel = Parcel::of(8 << 20, 7);
    let line = Line::to(served.address(), cuts(10, 8 << 20, 8));
    let process = Process::new(line.address(), None);
    block_on(async {
        uploaded(parcel.push(&process.repository).await);
        parcel.assert_is_at(&Process::new(&served.address(), None).repository).await;
    });
    assert_eq!(line.cuts_left(), 0);
    let again = served.received() - parcel.size();
    assert!(again <= 10 * CHUNK, "{again} bytes were sent again");
    assert_eq!(process.count(RequestKind::BeginUpload), 1);
}

#[test]
fn a_limit_of_a_proxy_is_found_out_once() {
    let served = served(Features { body_maximum: 3 << 20, ..Features::default() });
    let process = Process::with(&served.address(), None, Settings { chunk: Some(8 << 20), ..Settings::default() });
    let parcel = Parcel::of(12 << 20, 9);
    uploaded(block_on(parcel.push(&process.repository)));
    let requests = served.server.requests();
    let statuses: Vec<u16> = requests.iter().filter(|it| it.received > 0).filter_map(|it| it.status).collect();
    assert_eq!(statuses, [413, 413, 202, 202, 202, 202, 202, 201], "8 and 4 MiB are refused, 2 MiB are taken");
}

#[test]
fn a_session_that_expires_in_the_middle_begins_anew_and_one_that_does_not_goes_on() {
    for (method, requests) in [("PATCH", 5), ("PUT", 0)] {
        let served = served(Features::default());
        served.server.set_faults(vec![Fault::on(method, "/blobs/uploads/", What::ForgetSession).after(requests)]);
        let process = Process::new(&served.address(), None);
        let parcel = Parcel::of(SIZE, 10);
        uploaded(block_on(parcel.push(&process.repository)));
        assert_eq!(process.count(RequestKind::BeginUpload), 2, "{method}");
    }
    for what in [What::Answer(503, vec![], vec![]), What::Answer(429, vec![("retry-after", "1".into())], vec![])] {
        let served = served(Features::default());
        served.server.set_faults(vec![Fault::on("PATCH", "/blobs/uploads/", what).after(5)]);
        let process = Process::new(&served.address(), None);
        let parcel = Parcel::of(SIZE, 11);
        uploaded(block_on(parcel.push(&process.repository)));
        assert_eq!(process.count(RequestKind::BeginUpload), 1);
        assert_eq!(served.received(), parcel.size() + CHUNK, "the part that was refused is sent again, and no other");
    }
}

#[test]
fn a_token_that_ends_between_parts_costs_none_of_them() {
    let tokens = Tokens::default().for_account("anna", "secret").lasting(4);
    let auth = Some(Auth::Bearer { tokens, realm: None });
    let served = Embedded::with(Options { auth, ..Options::default() });
    let credentials = Credentials::only(&served.address(), Credential::basic("anna", "secret"));
    let process = Process::with(&served.address(), None, Settings { credentials, ..Settings::default() });
    let parcel = Parcel::of(SIZE, 12);
    uploaded(block_on(parcel.push(&process.repository)));
    assert!(process.count(RequestKind::Token) > 2);
    assert_eq!(process.count(RequestKind::BeginUpload), 1);
    let taken = |status: &Option<u16>| matches!(status, Some(202 | 201));
    let requests = served.server.requests();
    let sent: u64 = requests.iter().filter(|it| taken(&it.status)).map(|it| it.received).sum();
    assert_eq!(sent, parcel.size());
}

#[test]
fn a_sum_that_is_wrong_after_a_cut_is_put_right_from_the_beginning() {
    let served = served(Features::default());
    let process = Process::new(&served.address(), None);
    let parcel = Parcel::of(SIZE, 13);
    // the part is taken, and its answer says that it was not, and that nothing was
    let lies = vec![
        Fault::on("PATCH", "/blobs/uploads/", What::LoseAnswer).after(3),
        Fault::on("GET", "/blobs/uploads/", What::Header("range", format!("0-{}", 3 * CHUNK - 1))),
    ];
    served.server.set_faults(lies);
    let pushed = block_on(parcel.push(&process.repository));
    uploaded(pushed);
    block_on(parcel.assert_is_at(&process.repository));
    assert_eq!(process.count(RequestKind::BeginUpload), 2);
}

#[test]
fn a_rate_holds_for_all_that_goes_over_the_line() {
    let served = served(Features::default());
    let settings = Settings { limit_rate: Some("2M".parse().unwrap()), ..Settings::default() };
    let process = Process::with(&served.address(), None, settings);
    let parcels = [Parcel::of(SIZE / 2, 14), Parcel::of(SIZE / 2, 15)];
    let since = std::time::Instant::now();
    block_on(async {
        let [one, other] = &parcels;
        let (one, other) =
            futures_util::future::join(one.push(&process.repository), other.push(&process.repository)).await;
        uploaded(one);
        uploaded(other);
    });
    // 3 MB at 2 MiB/s take 1.4 s; the last piece need not be waited for
    assert!(since.elapsed().as_secs_f64() > 1.0, "{:?}", since.elapsed());
    let since = std::time::Instant::now();
    block_on(parcels[0].assert_is_at(&process.repository));
    assert!(since.elapsed().as_secs_f64() > 0.6, "{:?}", since.elapsed());
}

#[test]
fn from_registry_to_registry_an_upload_that_is_cut_reads_its_source_on() {
    let (here, there) = (served(Features::default()), served(Features::default()));
    let parcel = Parcel::of(SIZE, 16);
    let source = Process::new(&here.address(), None);
    let line = Line::to(there.address(), cuts(3, 2_500_000, 17));
    let target = Process::new(line.address(), None);
    block_on(async {
        uploaded(parcel.push(&source.repository).await);
        let origin = BlobOrigin::Repository(Box::new(source.repository.clone()));
        uploaded(target.repository.push_blob(&parcel.descriptor, &origin, None, &|_| ()).await);
    });
    assert_eq!(there.received(), parcel.size());
    let asked = here.server.requests().into_iter().filter(|it| it.method == "GET" && it.target.contains("/blobs/"));
    let ranges: Vec<bool> = asked.map(|request| request.headers.contains_key("range")).collect();
    assert_eq!(ranges, [false, true, true, true], "what was sent is not asked for again");
}
