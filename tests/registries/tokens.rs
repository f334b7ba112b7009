//! Tokens: fetched once, renewed in the middle, and never asked for at a realm
//! that the credentials aren't for.

use dlpack::registry::serve::{Auth, Fault, Options, Tokens, What};
use dlpack::registry::{BlobOrigin, Credential, Credentials, Error, ErrorKind, Pushed, RequestKind, Secret, Settings};

use super::{Embedded, Watched, blob, block_on, pulled};

fn bearer(tokens: Tokens, realm: Option<String>) -> Options {
    Options { auth: Some(Auth::Bearer { tokens, realm }), ..Options::default() }
}

fn account(tokens: Tokens) -> Tokens {
    tokens.for_account("me", "secret")
}

fn settings(served: &Embedded, user: &str, password: &str) -> Settings {
    let host = served.server.address().to_string();
    Settings { credentials: Credentials::only(&host, Credential::basic(user, password)), ..Settings::default() }
}

#[test]
fn one_token_a_scope_serves_many_requests() {
    let served = Embedded::with(bearer(account(Tokens::default()), None));
    let watched = Watched::new(settings(&served, "me", "secret"));
    let repository = watched.repository(&served.reference("image"));
    block_on(async {
        for seed in 0..3 {
            let (layer, bytes) = blob(1000, seed);
            repository.push_blob(&layer, &BlobOrigin::Bytes(bytes), None, &|_| ()).await.unwrap();
        }
    });
    let tokens = watched.sent().into_iter().filter(|kind| *kind == RequestKind::Token).count();
    assert_eq!(tokens, 1);
    let asked = served.requests("GET", "").into_iter().find(|get| get.target.starts_with("/token")).unwrap();
    assert!(asked.target.contains("scope=repository%3Aimage%3Apull%2Cpush"), "{}", asked.target);
    assert!(asked.target.contains("account=me"), "{}", asked.target);
}

#[test]
fn a_mount_asks_for_a_token_that_may_read_there() {
    let served = Embedded::with(bearer(account(Tokens::default()), None));
    let watched = Watched::new(settings(&served, "me", "secret"));
    let (base, image) = (watched.repository(&served.reference("base")), watched.repository(&served.reference("image")));
    let (layer, bytes) = blob(1000, 41);
    block_on(async {
        base.push_blob(&layer, &BlobOrigin::Bytes(bytes.clone()), None, &|_| ()).await.unwrap();
        let pushed = image.push_blob(&layer, &BlobOrigin::Bytes(bytes), Some(&base), &|_| ()).await.unwrap();
        assert_eq!(pushed, Pushed::Mounted);
    });
}

#[test]
fn a_token_that_ends_at_any_request_is_renewed_there() {
    for uses in 1..4 {
        let served = Embedded::with(bearer(account(Tokens::default().lasting(uses)), None));
        let watched = Watched::new(settings(&served, "me", "secret"));
        let repository = watched.repository(&served.reference("image"));
        block_on(async {
            for seed in 0..3 {
                let (layer, bytes) = blob(300_000, seed);
                let pushed = repository.push_blob(&layer, &BlobOrigin::Bytes(bytes.clone()), None, &|_| ()).await;
                assert!(matches!(pushed, Ok(Pushed::Uploaded { .. })), "{uses} uses: {pushed:?}");
                assert_eq!(pulled(&repository, &layer).await.unwrap(), bytes);
            }
        });
    }
}

#[test]
fn a_token_that_ends_in_the_middle_of_a_patch_is_renewed() {
    let served = Embedded::with(bearer(account(Tokens::default()), None));
    let watched = Watched::new(settings(&served, "me", "secret"));
    let repository = watched.repository(&served.reference("image"));
    let (layer, bytes) = blob(300_000, 42);
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"s\"", served.server.address());
    let expired = What::Answer(401, vec![("www-authenticate", challenge)], vec![]);
    served.server.set_faults(vec![
        Fault::on("PUT", "/blobs/uploads/", What::Answer(405, vec![], vec![])),
        Fault::on("PATCH", "/blobs/uploads/", expired),
    ]);
    block_on(async {
        repository.push_blob(&layer, &BlobOrigin::Bytes(bytes.clone()), None, &|_| ()).await.unwrap();
        assert_eq!(pulled(&repository, &layer).await.unwrap(), bytes);
    });
}

#[test]
fn a_wrong_password_is_said_at_once() {
    let served = Embedded::with(bearer(account(Tokens::default()), None));
    let watched = Watched::new(settings(&served, "me", "guess"));
    let repository = watched.repository(&served.reference("image"));
    let error = block_on(repository.manifest("tag")).unwrap_err();
    assert!(matches!(error, Error::Unauthorized { anonymous: false, .. }), "{error}");
    assert!(watched.pauses().is_empty());
    assert!(!format!("{error:?}").contains("guess"));
}

#[test]
fn a_token_at_another_realm_is_refused_by_name_and_hears_no_credentials() {
    let elsewhere = Embedded::with(bearer(account(Tokens::default()), None));
    // The same machine by another name: for credentials another host.
    let realm = format!("http://localhost:{}/token", elsewhere.server.address().port());
    let served = Embedded::with(bearer(account(Tokens::default()), Some(realm.clone())));
    let watched = Watched::new(settings(&served, "me", "secret"));
    let (layer, bytes) = blob(1000, 43);
    block_on(async {
        let repository = watched.repository(&served.reference("image"));
        let pull = pulled(&repository, &layer).await.unwrap_err();
        let push = repository.push_blob(&layer, &BlobOrigin::Bytes(bytes), None, &|_| ()).await.unwrap_err();
        for error in [pull, push] {
            let expected = format!("{} asks for a token at another realm: {realm}", served.server.address());
            assert_eq!(error.to_string(), expected);
            assert_eq!(error.kind(), ErrorKind::Authentication);
            assert!(error.hint().unwrap().ends_with("DLPACK_TRUSTED_REALMS=localhost"));
        }
    });
    assert!(elsewhere.server.requests().is_empty());
}

#[test]
fn a_refresh_token_is_not_posted_to_the_host_that_a_token_server_redirects_to() {
    let theirs = Embedded::start();
    let served = Embedded::with(bearer(account(Tokens::default()), None));
    let credential = Credential::IdentityToken(Secret::new("refresh"));
    let credentials = Credentials::only(&served.server.address().to_string(), credential);
    let watched = Watched::new(Settings { credentials, ..Settings::default() });
    let location = ("location", format!("http://{}/token", theirs.server.address()));
    served.fault(Fault::on("POST", "/token", What::Answer(307, vec![location], vec![])));
    let error = block_on(watched.repository(&served.reference("image")).manifest("tag")).unwrap_err();
    assert!(error.to_string().ends_with("redirect that can't be followed"), "{error}");
    assert!(theirs.server.requests().is_empty());
}

#[test]
fn a_token_server_that_fails_is_asked_again_and_one_that_talks_nonsense_is_named() {
    let served = Embedded::with(bearer(account(Tokens::default()), None));
    let watched = Watched::new(settings(&served, "me", "secret"));
    let answers = |status, body: &[u8]| Fault::on("GET", "/token", What::Answer(status, vec![], body.to_vec()));
    let push = |fault: Fault| {
        served.fault(fault);
        // A repository of its own each time, so that no token is left over.
        let repository = Watched::new(settings(&served, "me", "secret")).repository(&served.reference("image"));
        let (layer, bytes) = blob(1000, 44);
        block_on(repository.push_blob(&layer, &BlobOrigin::Bytes(bytes), None, &|_| ()))
    };
    push(answers(503, b"")).unwrap();
    for nonsense in [&b"{}"[..], b"<html>", b"{\"token\":\"\"}", b"{\"token\":\"a\\nb\"}"] {
        let error = push(answers(200, nonsense)).unwrap_err();
        assert!(error.to_string().ends_with("gives an answer without a token"), "{error}");
    }
    drop(watched);
}

#[test]
fn a_challenge_that_cannot_be_met_is_named() {
    let served = Embedded::start();
    let challenge =
        |text: &str| Fault::on("GET", "/", What::Answer(401, vec![("www-authenticate", text.into())], vec![])).always();
    let ask = |text: &str| {
        served.fault(challenge(text));
        let watched = Watched::new(settings(&served, "me", "secret"));
        block_on(watched.repository(&served.reference("image")).manifest("tag")).unwrap_err()
    };
    assert!(ask("Bearer service=\"s\"").to_string().ends_with("gives a Bearer challenge without a realm"));
    assert!(ask("Bearer realm=\"not an address\"").to_string().ends_with("gives a realm that is no address"));
    assert!(matches!(ask("Negotiate"), Error::Unauthorized { .. }));
    assert!(matches!(ask("Basic realm=\"x\""), Error::Unauthorized { anonymous: false, .. }));
    for realm in ["ftp://127.0.0.1/token", "http://127.0.0.1.evil.example/token", "https://evil.example/token"] {
        assert!(matches!(ask(&format!("Bearer realm=\"{realm}\"")), Error::Realm { .. }), "{realm}");
    }
}
