//! Where credentials go while a registry redirects, expires tokens, or names other hosts.

use dlpack::registry::serve::{Auth, Options, Server, Tokens, What};
use dlpack::store::Store;
use tempfile::TempDir;

use super::campaign::cases::{answer, on, redirect, wait};
use super::campaign::name_of;
use super::campaign::scene::{Scene, UPLOADS, layer_path, put_image};
use crate::support::shown::Shown;

#[test]
fn tokens_that_end_in_the_middle_are_renewed() {
    // one use is spent on asking whether the blob is there
    for uses in [2, 3, 4, 5] {
        let tokens = || Tokens::default().for_account("anna", "secret").lasting(uses);
        let options = || Options { auth: Some(Auth::Bearer { tokens: tokens(), realm: None }), ..Options::default() };
        let scene = Scene::to_pull(options());
        assert_eq!(scene.pull().unwrap(), scene.image);
        let scene = Scene::to_push(options());
        assert_eq!(scene.push().unwrap_or_else(|error| panic!("{uses} uses: {error:?}")), scene.image);
    }
}

#[test]
fn a_token_server_that_fails_once_is_asked_again() {
    let auth = Auth::Bearer { tokens: Tokens::default().for_account("anna", "secret"), realm: None };
    for what in [answer(503), What::LoseAnswer, wait(429, "1")] {
        let faults = vec![on("GET", "/token", what)];
        let scene = Scene::to_pull(Options { auth: Some(auth.clone()), faults, ..Options::default() });
        assert_eq!(scene.pull().unwrap(), scene.image);
    }
}

/// A second host. Whatever comes there is remembered.
fn other_host(auth: Option<Auth>) -> (Server, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    put_image(&store);
    let options = Options { auth, ..Options::default() };
    (Server::bind("127.0.0.1:0".parse().unwrap(), store, options).unwrap(), directory)
}

fn assert_no_credential_came(server: &Server) {
    for request in server.requests() {
        assert!(!request.headers.contains_key("authorization"), "{} {}", request.method, request.target);
    }
}

/// Basic and Bearer.
fn both_kinds() -> [Auth; 2] {
    let tokens = Tokens::default().for_account("anna", "secret");
    let basic = Auth::Basic { user: "anna".into(), password: "secret".into() };
    [basic, Auth::Bearer { tokens, realm: None }]
}

#[test]
fn a_blob_that_lies_at_another_host_is_fetched_there_without_credentials() {
    for auth in both_kinds() {
        let (other, _directory) = other_host(None);
        let there = format!("http://{}/v2/team/image{}", other.address(), layer_path());
        let faults = vec![on("GET", &layer_path(), redirect(&there)).always()];
        let scene = Scene::to_pull(Options { auth: Some(auth), faults, ..Options::default() });
        assert_eq!(scene.pull().unwrap(), scene.image);
        assert_eq!(other.requests().len(), 1);
        assert_no_credential_came(&other);
    }
}

#[test]
fn another_host_that_asks_for_credentials_gets_none() {
    for (auth, theirs) in both_kinds().into_iter().zip(both_kinds()) {
        let (other, _directory) = other_host(Some(theirs));
        let there = format!("http://{}/v2/team/image{}", other.address(), layer_path());
        let faults = vec![on("GET", &layer_path(), redirect(&there)).always()];
        let scene = Scene::to_pull(Options { auth: Some(auth), faults, ..Options::default() });
        let failure = scene.pull().unwrap_err();
        assert_eq!(name_of(&failure), "Unauthorized", "{failure:?}");
        assert_no_credential_came(&other);
        scene.assert_sound();
        scene.server().set_faults(Vec::new());
        assert_eq!(scene.pull().unwrap(), scene.image);
    }
}

#[test]
fn an_upload_is_not_sent_to_another_host_over_http() {
    for auth in both_kinds() {
        let (other, _directory) = other_host(None);
        let away = What::Location(format!("http://{}", other.address()), String::new());
        let faults = vec![on("POST", UPLOADS, away).always()];
        let scene = Scene::to_push(Options { auth: Some(auth), faults, ..Options::default() });
        let failure = scene.push().unwrap_err();
        assert_eq!(name_of(&failure), "Location", "{failure:?}");
        let mut shown = Shown::new();
        shown.replace(scene.server().address().to_string(), "REGISTRY");
        shown.replace(other.address().to_string(), "ELSEWHERE");
        shown.add("an upload sent elsewhere", failure);
        shown.is("registries/locations");
        assert_eq!(other.requests().len(), 0);
        scene.server().set_faults(Vec::new());
        assert_eq!(scene.push().unwrap(), scene.image);
    }
}

#[test]
fn a_token_is_not_asked_for_at_another_realm() {
    let tokens = Tokens::default().for_account("anna", "secret");
    // another host: a loopback address with a name of its own
    let (other, _directory) = other_host(None);
    let realm = format!("http://localhost:{}/token", other.address().port());
    let auth = Auth::Bearer { tokens, realm: Some(realm) };
    let scene = Scene::to_pull(Options { auth: Some(auth), ..Options::default() });
    let failure = scene.pull().unwrap_err();
    assert_eq!(name_of(&failure), "Realm", "{failure:?}");
    assert_eq!(other.requests().len(), 0);
    scene.assert_sound();
}
