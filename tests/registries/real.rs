//! Against Debian's docker-registry.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use dlpack::oci::{Descriptor, Manifest, media_type};
use dlpack::registry::http::Http;
use dlpack::registry::{
    BlobOrigin, Credential, Credentials, Error, ErrorKind, Pushed, RequestKind, Settings, Transfer,
};
use dlpack::store::{Area, Store};

use super::{Watched, blob, block_on, pulled};
use crate::support::registry::{DebianRegistry, PASSWORD, USER};

#[test]
fn what_is_pushed_from_a_store_is_pulled_again_and_pushed_twice_sends_only_heads_and_the_manifest() {
    let debian = DebianRegistry::start();
    let watched = Watched::new(Settings::default());
    let repository = watched.repository(&debian.reference("some/image:tag"));
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(directory.path()).expect("a store");
    let (layer, bytes) = blob(3_000_000, 1);
    store.put(Area::Blobs, &bytes).expect("kept");
    let config = Bytes::from_static(b"{}");
    let config_descriptor = Descriptor::of(media_type::CONFIG, &config);
    let manifest = serde_json::to_vec(&Manifest::new(config_descriptor.clone(), vec![layer.clone()])).expect("json");

    block_on(async {
        let told = AtomicU64::new(0);
        let tell = |moved| {
            let Transfer::Sent(bytes) = moved else { panic!("nothing was there") };
            told.fetch_add(bytes, Ordering::Relaxed);
        };
        for round in 0..2 {
            let origins =
                [(&layer, BlobOrigin::Store(store.clone())), (&config_descriptor, BlobOrigin::Bytes(config.clone()))];
            for (descriptor, origin) in origins {
                repository.push_blob(descriptor, &origin, None, &tell).await.expect("pushed");
            }
            let digest = repository.push_manifest("tag", media_type::MANIFEST, &manifest).await.expect("pushed");
            use RequestKind::{BeginUpload, HeadBlob, PutManifest, PutUpload};
            let expected = match round {
                0 => vec![HeadBlob, BeginUpload, PutUpload, HeadBlob, BeginUpload, PutUpload, PutManifest],
                _ => vec![HeadBlob, HeadBlob, PutManifest],
            };
            assert_eq!(watched.sent(), expected);
            let (found, again) = repository.manifest("tag").await.expect("pulled");
            assert_eq!((found.digest, again), (digest, manifest.clone()));
            assert_eq!(repository.has_manifest("tag").await.expect("answer"), Some(found));
            watched.sent();
        }
        assert_eq!(told.into_inner(), 3_000_002);
        assert_eq!(pulled(&repository, &layer).await.expect("pulled"), bytes);
        assert_eq!(repository.tags().await.expect("tags"), ["tag"]);
    });
}

#[test]
fn a_blob_of_another_repository_is_mounted_and_one_of_another_registry_streams() {
    let (here, there) = (DebianRegistry::start(), DebianRegistry::start());
    let watched = Watched::new(Settings::default());
    let (layer, bytes) = blob(2_000_000, 2);
    block_on(async {
        let base = watched.repository(&here.reference("base"));
        let origin = BlobOrigin::Bytes(bytes.clone());
        base.push_blob(&layer, &origin, None, &|_| ()).await.expect("pushed");
        watched.sent();

        let image = watched.repository(&here.reference("image"));
        let from_base = BlobOrigin::Repository(Box::new(base.clone()));
        let pushed = image.push_blob(&layer, &from_base, Some(&base), &|_| ()).await.expect("mounted");
        assert_eq!(pushed, Pushed::Mounted);
        assert_eq!(watched.sent(), [RequestKind::HeadBlob, RequestKind::MountBlob]);

        let elsewhere = watched.repository(&there.reference("image"));
        let pushed = elsewhere.push_blob(&layer, &from_base, Some(&base), &|_| ()).await.expect("streamed");
        assert_eq!(pushed, Pushed::Uploaded { bytes: 2_000_000, resumed: 0 });
        assert_eq!(pulled(&elsewhere, &layer).await.expect("pulled"), bytes);
    });
}

#[test]
fn a_mount_that_is_declined_goes_on_as_an_upload_in_its_session() {
    let debian = DebianRegistry::start();
    let watched = Watched::new(Settings::default());
    let (layer, bytes) = blob(100_000, 3);
    block_on(async {
        let (empty, image) =
            (watched.repository(&debian.reference("empty")), watched.repository(&debian.reference("image")));
        image.push_blob(&layer, &BlobOrigin::Bytes(bytes), Some(&empty), &|_| ()).await.expect("pushed");
        use RequestKind::{HeadBlob, MountBlob, PutUpload};
        assert_eq!(watched.sent(), [HeadBlob, MountBlob, PutUpload]);
    });
}

#[test]
fn a_registry_with_a_password_wants_the_right_one() {
    let debian = DebianRegistry::start_with_password();
    let (layer, bytes) = blob(100_000, 4);
    let settings = |user: &str, password: &str| Settings {
        credentials: Credentials::only(debian.address(), Credential::basic(user, password)),
        ..Settings::default()
    };
    block_on(async {
        let origin = BlobOrigin::Bytes(bytes);
        let push = async |settings| {
            let repository = Watched::new(settings).repository(&debian.reference("image"));
            repository.push_blob(&layer, &origin, None, &|_| ()).await
        };
        push(settings(USER, PASSWORD)).await.expect("pushed");
        let wrong = push(settings(USER, "guess")).await.expect_err("a wrong password");
        assert!(matches!(wrong, Error::Unauthorized { anonymous: false, .. }), "{wrong}");
        let none = push(Settings::default()).await.expect_err("no password");
        assert!(matches!(none, Error::Unauthorized { anonymous: true, .. }), "{none}");
        assert_eq!(none.kind(), ErrorKind::Authentication);
        assert_eq!(none.to_string(), format!("{} wants credentials for image", debian.address()));
    });
}

#[test]
fn a_damaged_blob_of_the_registry_is_an_error_and_never_complete() {
    let debian = DebianRegistry::start();
    let watched = Watched::new(Settings::default());
    let (layer, bytes) = blob(300_000, 5);
    block_on(async {
        let repository = watched.repository(&debian.reference("image"));
        repository.push_blob(&layer, &BlobOrigin::Bytes(bytes.clone()), None, &|_| ()).await.expect("pushed");
        let file = debian.blob_file(&layer.digest.to_string());
        let mut damaged = bytes.to_vec();
        damaged[150_000] ^= 1;
        std::fs::write(file, damaged).expect("written");
        let error = pulled(&repository, &layer).await.expect_err("damaged");
        assert!(matches!(error, Error::Digest { expected, .. } if expected == layer.digest), "{error}");
        assert_eq!(error.kind(), ErrorKind::Integrity);
    });
}

#[test]
fn what_is_not_there_is_not_found() {
    let debian = DebianRegistry::start();
    let watched = Watched::new(Settings::default());
    block_on(async {
        let repository = watched.repository(&debian.reference("nothing"));
        let error = repository.manifest("latest").await.expect_err("nothing there");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("latest is not in"), "{error}");
        assert_eq!(repository.has_manifest("latest").await.expect("an answer"), None);
        let error = repository.tags().await.expect_err("no such repository");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = pulled(&repository, &blob(10, 6).0).await.expect_err("no blob");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_registry_with_tls_of_its_own_is_spoken_to_in_tls_on_loopback_and_not_trusted_elsewhere() {
    let debian = DebianRegistry::start_with_tls();
    let watched = Watched::new(Settings::default());
    let (layer, bytes) = blob(100_000, 7);
    block_on(async {
        let repository = watched.repository(&debian.reference("image"));
        repository.push_blob(&layer, &BlobOrigin::Bytes(bytes.clone()), None, &|_| ()).await.expect("pushed");
        assert_eq!(pulled(&repository, &layer).await.expect("pulled"), bytes);

        // What a host that isn't loopback gets: the machine's roots, and no other way.
        let get = async |address: &str| {
            let request =
                reqwest::Request::new(reqwest::Method::GET, format!("https://{address}/v2/").parse().expect("a URL"));
            Http::new().expect("a client").send(request).await.expect_err("not trusted")
        };
        let error = get(debian.address()).await;
        assert!(!error.is_transient() && error.hint().expect("a hint").contains("SSL_CERT_FILE"), "{error:?}");
        let plain = DebianRegistry::start();
        let error = get(plain.address()).await;
        assert!(!error.is_transient() && error.hint().expect("a hint").contains("registries.conf"), "{error:?}");
    });
}
