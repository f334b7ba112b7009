//! Caches that can't be read, and keys that are none.

use dlpack::registry::serve::{Auth, Fault, Options, Server, What};
use dlpack::store::Store;

use super::shown_at;
use crate::support::command::Dlpack;
use crate::support::embedded::Embedded;
use crate::support::registry::DebianRegistry;

const ZONE: &str = "base = \"scratch\"\nplatform = \"linux/amd64\"\n";
const LAYER: &str = "[[layer]]\nkind = \"timezone\"\nzone = \"Asia/Seoul\"\n";
/// RFC 8410 section 10.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                   -----END PRIVATE KEY-----\n";

#[test]
fn a_cache_that_wants_other_credentials() {
    let dlpack = Dlpack::new();
    let mut shown = shown_at(&dlpack);
    let directory = tempfile::tempdir().unwrap();
    let auth = Some(Auth::Basic { user: "me".into(), password: "secret".into() });
    let store = Store::open(directory.path()).unwrap();
    let options = Options { auth, ..Options::default() };
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), store, options).unwrap();
    shown.replace(server.address().to_string(), "REGISTRY");
    dlpack.write("dlpack.toml", &format!("{ZONE}{LAYER}"));
    let cache = format!("{}/team/cache", server.address());
    shown.run("a cache that a person named", &mut dlpack.command(["build", "--cache", &cache]));
    shown.is("caches/repositories");
}

#[test]
fn a_key_that_is_none() {
    let dlpack = Dlpack::new();
    let mut shown = shown_at(&dlpack);
    dlpack.write("dlpack.toml", &format!("{ZONE}{LAYER}"));
    let target = "127.0.0.1:9/team/env:1";
    shown.run("no such file", &mut dlpack.command(["push", target, "--sign-key", "no.pem"]));
    dlpack.write("rsa.pem", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n");
    shown.run("another kind of key", dlpack.command(["push", target]).env("DLPACK_SIGN_KEY", "rsa.pem"));
    dlpack.write("key.pem", KEY);
    let other = "cache-keys = [\"ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"]\n";
    dlpack.write("dlpack.toml", &format!("{ZONE}{other}{LAYER}"));
    shown.run("a key that is not pinned", &mut dlpack.command(["push", target, "--sign-key", "key.pem"]));
    dlpack.write("dlpack.toml", &format!("{ZONE}cache-keys = [\"ed25519:AAAA\"]\n{LAYER}"));
    shown.run("a recipe with another thing for a key", &mut dlpack.command(["lock"]));
    shown.is("caches/keys");
}

#[test]
fn records_that_cannot_be_collected() {
    let dlpack = Dlpack::new();
    let mut shown = shown_at(&dlpack);
    dlpack.write("dlpack.toml", &format!("{ZONE}{LAYER}"));
    let without = DebianRegistry::start_without_deletion();
    shown.replace(without.address(), "REGISTRY");
    let (image, cache) = (without.reference("team/env:1"), without.reference("team/env"));
    shown.run("no such repository", &mut dlpack.command(["cache", "gc", &cache]));
    dlpack.ok(["push", &image]);
    let all = ["--max-size", "0"];
    shown.run("a registry that removes nothing", dlpack.command(["cache", "gc", &cache]).args(all));
    let embedded = Embedded::start();
    shown.replace(embedded.address(), "EMBEDDED");
    dlpack.ok(["push", &embedded.reference("team/env:1")]);
    let denied = br#"{"errors":[{"code":"DENIED","message":"read only"}]}"#.to_vec();
    let denied = What::Answer(403, vec![("content-type", "application/json".into())], denied);
    embedded.server.set_faults(vec![Fault::on("DELETE", "/manifests/", denied)]);
    shown.run("a registry that refuses", dlpack.command(["cache", "gc", &embedded.reference("team/env")]).args(all));
    let image = "127.0.0.1:9/team/env";
    shown.run("names of the store", &mut dlpack.command(["cache", "gc", image, "--forget", image]));
    shown.run("no repository", &mut dlpack.command(["cache", "gc", "--dry-run"]));
    shown.is("caches/records");
}
