//! Registries that are configured wrong, credentials that can't be read, and what
//! `dlpack serve` refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use std::time::Duration;

use dlpack::registry::serve::{Auth, Fault, Options, Server, What};
use dlpack::registry::{Error, http};
use dlpack::store::Store;

use super::shown_at;
use crate::support::command::Dlpack;
use crate::support::shown::Shown;

/// A credential helper that fails, or does not.
const HELPER: &str = "#!/bin/sh\n[ -z \"$NONSENSE\" ] || { echo 'password=hunter2'; exit 0; }\n\
                      echo 'the keychain is locked' >&2\nexit 1\n";

fn serving(options: Options) -> (Server, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (Server::bind("127.0.0.1:0".parse().unwrap(), store, options).unwrap(), directory)
}

#[test]
fn a_configuration_that_cannot_be_used() {
    let dlpack = Dlpack::new();
    let mut shown = shown_at(&dlpack);
    let auth = Some(Auth::Basic { user: "me".into(), password: "secret".into() });
    let (server, _directory) = serving(Options { auth, ..Options::default() });
    let name = format!("{}/image:1", server.address());
    shown.replace(server.address().to_string(), "REGISTRY");
    let pull = |name: &str| dlpack.command(["pull", name]);
    dlpack.write("../registries.conf", "[[registry]]\nprefix = \"bad.example/team\"\nblocked = true\n");
    shown.run("a registry that is blocked", &mut pull("bad.example/team/image:1"));
    let odd = "[[registry]]\nprefix = \"odd.example\"\nlocation = \"not a host\"\n";
    dlpack.write("../registries.conf", odd);
    shown.run("a location that is no host", &mut pull("odd.example/image:1"));
    fs::remove_file(dlpack.registries_conf()).unwrap();
    shown.run("no registries.conf where the environment says", &mut pull(&name));
    dlpack.mirror_docker_io("127.0.0.1:9");

    dlpack.write("../.docker/config.json", "{\n  \"auths\": [\n");
    shown.run("a config.json that is none", &mut pull(&name));
    fs::remove_file(dlpack.home().join(".docker/config.json")).unwrap();
    fs::create_dir(dlpack.home().join(".docker/config.json")).unwrap();
    shown.run("a config.json that is a directory", &mut pull(&name));
    fs::remove_dir(dlpack.home().join(".docker/config.json")).unwrap();

    dlpack.write("../.docker/config.json", "{\"credsStore\": \"test\"}");
    let helper = dlpack.write("../bin/docker-credential-test", HELPER);
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", dlpack.home().join("bin").display());
    shown.run("a helper that fails", pull(&name).env("PATH", &path));
    shown.run("a helper that answers nonsense", pull(&name).env("PATH", &path).env("NONSENSE", "1"));
    shown.run("a helper that is not there", pull(&name).env("PATH", "/nowhere"));
    shown.is("registries/configuration");
}

#[test]
fn a_machine_without_trusted_roots() {
    let dlpack = Dlpack::new();
    let mut shown = shown_at(&dlpack);
    let nothing = dlpack.write("roots.pem", "");
    let mut pull = dlpack.command(["pull", "127.0.0.1:9/image:1"]);
    shown.run("no trusted roots", pull.env("SSL_CERT_FILE", nothing).env("SSL_CERT_DIR", "/nowhere"));
    shown.is("registries/roots");
}

/// A registry that answers every request for a manifest so.
fn answering(status: u16, header: &'static str, value: &str) -> (Server, tempfile::TempDir) {
    let answer = What::Answer(status, vec![(header, value.to_owned())], Vec::new());
    serving(Options { faults: vec![Fault::on("GET", "/manifests/", answer).always()], ..Options::default() })
}

#[test]
fn an_answer_that_leads_nowhere() {
    let dlpack = Dlpack::new();
    let mut shown = shown_at(&dlpack);
    for (case, status, header, value) in [
        ("a redirect in circles", 307, "location", "/v2/image/manifests/1"),
        ("a redirect to a file", 307, "location", "file:///etc/passwd"),
        ("a token at another realm", 401, "www-authenticate", "Bearer realm=\"http://localhost:9/token\""),
        ("a challenge without a realm", 401, "www-authenticate", "Bearer service=\"registry\""),
    ] {
        let (server, _directory) = answering(status, header, value);
        shown.replace(server.address().to_string(), "REGISTRY");
        shown.run(case, &mut dlpack.command(["pull", &format!("{}/image:1", server.address())]));
    }
    shown.is("registries/answers");
}

/// What takes minutes, or a certificate that this machine trusts, to come about; that
/// it does is tested where it is found.
#[test]
fn what_a_connection_can_do_to_a_transfer() {
    let url = || "https://registry.example/v2/image/blobs/uploads/1".to_owned();
    let mut shown = Shown::new();
    let to = "http://elsewhere.example/".to_owned();
    shown.add("a redirect that is not encrypted", Error::from(http::Error::Downgrade { url: url(), to }));
    shown.add("an upload that stands still", Error::Stalled { url: url(), idle: Duration::from_secs(300) });
    let range = "bytes 0-9/100".to_owned();
    shown.add("another range than was asked for", Error::Range { url: url(), offset: 10, range });
    shown.is("registries/connections");
}

#[test]
fn a_store_that_may_not_be_served() {
    let dlpack = Dlpack::new();
    let mut shown = shown_at(&dlpack);
    shown.run("to the world", &mut dlpack.command(["serve", "--address", "0.0.0.0:5000"]));
    shown.is("registries/serve");
}
