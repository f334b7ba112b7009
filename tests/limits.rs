//! The limits of real registries: what `plan` warns of, and what dlpack does not to pull.

use std::fs;
use std::process::Command;
use std::time::Duration;

use dlpack::registry::serve::{Fault, What};
use dlpack::store::Store;
use serde_json::json;

use crate::support::command::Dlpack;
use crate::support::embedded::Embedded;
use crate::support::image::{Layout, Packing, Tar};
use crate::support::output;

/// A home whose `ghcr.io` and `docker.io` are `registry`.
fn home(registry: &Embedded) -> Dlpack {
    let dlpack = Dlpack::new();
    let registries = ["ghcr.io", "docker.io"].map(|name| {
        format!("[[registry]]\nprefix = \"{name}\"\nlocation = \"{}\"\ninsecure = true\n", registry.address())
    });
    fs::write(dlpack.registries_conf(), registries.join("\n")).expect("written");
    dlpack
}

/// The same with the lock of a small environment, in which six has `size` bytes.
fn with_a_wheel_of(registry: &Embedded, size: u64) -> Dlpack {
    let dlpack = home(registry);
    dlpack.write_recipe("\"scratch\"");
    dlpack.ok(["lock"]);
    dlpack.edit("dlpack.lock", "size = 11053\n", &format!("size = {size}\n"));
    dlpack
}

/// Puts an image whose one file has this content there as `docker.io/library/small:1`.
fn push_base(registry: &Embedded, dlpack: &Dlpack, content: &str) {
    let layout = Layout::create(dlpack.work().join(content));
    layout.image().layer(Packing::Gzip, Tar::new().file("etc/small", content)).tagged("small");
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["copy", "--dest-tls-verify=false"]).arg(format!("oci:{}:small", layout.path().display()));
    output(skopeo.arg(format!("docker://{}", registry.reference("library/small:1"))), "skopeo");
}

#[test]
fn a_layer_that_the_registry_takes_not_is_warned_of() {
    let registry = Embedded::start();
    let dlpack = with_a_wheel_of(&registry, 11_000_000_000);
    let planned = dlpack.run(["plan", "ghcr.io/team/env:1"]);
    assert!(planned.status == 0 && !planned.stderr.contains("warning"), "it will be in two parts: {planned:?}");
    dlpack.edit("dlpack.toml", "[vars]", "max-layer-size = \"20GB\"\n\n[vars]");
    dlpack.ok(["lock"]);
    dlpack.edit("dlpack.lock", "size = 11053\n", "size = 11000000000\n");
    let planned = dlpack.run(["plan", "ghcr.io/team/env:1"]);
    let warning = "six 1.16.0 has about 11 GB, and ghcr.io takes layers of at most 10 GB";
    assert!(planned.status == 0 && planned.stderr.contains(warning), "{planned:?}");
    let exceeded = &dlpack.json(["plan", "ghcr.io/team/env:1"])["exceeded"];
    assert_eq!((&exceeded[0]["limit"], &exceeded[0]["most"]), (&json!("layer"), &json!(10_000_000_000_u64)));
    let elsewhere = dlpack.json(["plan", &registry.reference("team/env:1")]);
    assert_eq!(elsewhere["exceeded"], json!([]), "another registry has no such limit");
}

#[test]
fn a_layer_that_takes_longer_than_the_registry_waits_is_warned_of() {
    let registry = Embedded::start();
    let dlpack = with_a_wheel_of(&registry, 3_000_000_000);
    let store = Store::open(&dlpack.store()).expect("a store");
    let planned = dlpack.run(["plan", "ghcr.io/team/env:1"]);
    assert!(!planned.stderr.contains("warning"), "nothing is known of the line: {planned:?}");
    store.put_rate(&registry.address(), 20_000_000, Duration::from_secs(10)).expect("written");
    let planned = dlpack.run(["plan", "ghcr.io/team/env:1"]);
    let warning = "six 1.16.0 takes 25 min 0 s at the rate of the last push, and ghcr.io ends the upload of a layer \
                   after 10 min 0 s";
    assert!(planned.stderr.contains(warning), "{planned:?}");
}

#[test]
fn a_bases_manifest_is_fetched_once_and_then_asked_for_by_head() {
    let registry = Embedded::start();
    let dlpack = home(&registry);
    push_base(&registry, &dlpack, "first");
    dlpack.write("dlpack.toml", "base = \"small:1\"\n[[layer]]\nkind = \"timezone\"\nzone = \"Asia/Seoul\"\n");
    let gets = || registry.requests("GET", "/manifests/").len();
    let target = "docker.io/team/env:1";
    let pushed = dlpack.json(["push", target]);
    assert_eq!(gets(), 1, "{:?}", registry.server.requests());
    registry.server.clear_requests();
    for arguments in [&["push", "--update", target][..], &["push", target], &["lock"], &["plan", target, "--why"]] {
        dlpack.ok(arguments);
    }
    assert_eq!(gets(), 0, "the base has not changed, and what the target holds was made here");
    assert_eq!(
        registry.requests("HEAD", "/library/small/manifests/1").len(),
        2,
        "each time that the recipe is resolved"
    );

    push_base(&registry, &dlpack, "second");
    registry.server.clear_requests();
    let again = dlpack.json(["push", "--update", target]);
    assert_eq!(gets(), 1);
    assert_ne!(again["digest"], pushed["digest"]);

    // A manifest that was damaged in the store is fetched.
    let base = registry.requests("GET", "/manifests/").len();
    let digest = dlpack.stored(again["digest"].as_str().expect("a digest"));
    let digest = digest["annotations"]["org.opencontainers.image.base.digest"].as_str().expect("a digest");
    fs::write(dlpack.blob(digest), "{}").expect("damaged");
    dlpack.ok(["lock"]);
    assert_eq!(gets(), base + 1);
}

#[test]
fn how_many_pulls_are_left_is_shown() {
    let registry = Embedded::start();
    let dlpack = home(&registry);
    push_base(&registry, &dlpack, "only");
    dlpack.write("dlpack.toml", "base = \"small:1\"\n");
    let left =
        What::Headers(vec![("ratelimit-limit", "100;w=21600".into()), ("ratelimit-remaining", "76;w=21600".into())]);
    let of = |method: &str| Fault::on(method, "/manifests/", left.clone()).always();
    registry.server.set_faults(vec![of("GET"), of("HEAD")]);
    let line = "docker.io: 76 of 100 pulls in 6 h are left";
    let verbose = dlpack.run(["lock", "-v"]);
    assert_eq!(verbose.stderr.matches(line).count(), 1, "{verbose:?}");
    assert!(!dlpack.run(["lock"]).stderr.contains(line));
    assert!(dlpack.ok(["plan", "--update"]).contains(line));
    let json = dlpack.json(["plan", "--update"]);
    assert_eq!(json["pulls"]["docker.io"], json!({ "limit": 100, "remaining": 76, "seconds": 21600 }));
}
