//! `dlpack push`, to Debian's registry: what goes over the wire and what arrives.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::command::{Dlpack, Ran};
use crate::support::image::{Form, Layout, Packing, Tar};
use crate::support::output;
use crate::support::registry::{DebianRegistry, PASSWORD, Request, USER};

/// A layout with the image `base` of three layers, and `arm64`, another one.
fn bases(dlpack: &Dlpack) -> Layout {
    let layout = Layout::create(dlpack.work().join("bases"));
    let accounts = Tar::new().file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n").file("etc/group", "root:x:0:\n");
    let file = |name: &str| Tar::new().file(name, name.repeat(10_000));
    let image = layout.image().layer(Packing::Gzip, accounts).layer(Packing::Gzip, file("second"));
    let amd64 = image.layer(Packing::Gzip, file("third")).tagged("base");
    let arm64 = layout.image_for("arm64").layer(Packing::Gzip, file("arm64")).finish();
    layout.index("index", &[(amd64, "amd64"), (arm64, "arm64")]);
    let gzip = layout.image().layer(Packing::Gzip, file("second"));
    gzip.layer(Packing::Zstd, file("third")).layer(Packing::Plain, file("fourth")).tagged("mixed");
    layout
}

/// A home whose small environment lies on `bases/small:1` of `registry`, locked.
fn on_base_of(registry: &DebianRegistry) -> Dlpack {
    let dlpack = Dlpack::new();
    bases(&dlpack).push("base", registry, "bases/small:1", Form::Oci);
    dlpack.write_recipe(&format!("{:?}", registry.reference("bases/small:1")));
    dlpack.ok(["lock"]);
    registry.forget_requests();
    dlpack
}

/// What skopeo says of an image.
fn skopeo(arguments: &[&str], image: &str) -> Value {
    let mut inspect = Command::new("skopeo");
    inspect.args(["inspect", "--tls-verify=false"]).args(arguments).arg(format!("docker://{image}"));
    serde_json::from_slice(&output(&mut inspect, "skopeo").stdout).expect("JSON")
}

/// Requests that are neither questions, of blobs or of records, nor the manifest's arrival.
fn sends(requests: &[Request]) -> Vec<&Request> {
    let asks = |request: &&Request| {
        let greeting = request.method == "GET" && request.target == "/v2/";
        let record = request.target.contains("/referrers/") || request.target.contains("/manifests/dlpack-");
        request.method == "HEAD"
            || record
            || greeting
            || request.method == "PUT" && request.target.contains("/manifests/")
    };
    requests.iter().filter(|request| !asks(request)).collect()
}

#[test]
fn the_bases_layers_are_mounted_and_ours_are_sent() {
    let registry = DebianRegistry::start();
    let dlpack = on_base_of(&registry);
    let target = registry.reference("team/env:1");
    let pushed = dlpack.json(["push", &target]);
    assert_eq!((&pushed["mounted"], &pushed["uploaded"]), (&json!(3), &json!(7)), "six layers and the config");
    let requests = registry.requests();
    let mounts: Vec<_> = requests.iter().filter(|request| request.target.contains("mount=")).collect();
    assert_eq!(mounts.len(), 3);
    assert!(mounts.iter().all(|mount| mount.status == 201 && mount.target.contains("from=bases%2Fsmall")));
    assert_eq!(registry.blob_reads(), [], "no byte of the base comes here");
    let image = requests.iter().position(|request| request.method == "PUT" && request.target.ends_with("/manifests/1"));
    let (before, after) = requests.split_at(image.unwrap() + 1);
    let sent = |request: &&Request| request.method == "PUT" && request.target.contains("/blobs/");
    assert_eq!(before.iter().filter(sent).count(), 7, "the manifest is the last of the image");
    assert_eq!(after.iter().filter(|request| request.target.contains("/manifests/dlpack-")).count(), 6, "records");
    assert_eq!(skopeo(&[], &target)["Digest"], pushed["digest"]);
}

#[test]
fn pushed_twice_nothing_is_sent_but_questions_and_the_manifest() {
    let registry = DebianRegistry::start();
    let dlpack = on_base_of(&registry);
    let target = registry.reference("team/env:1");
    let first = dlpack.ok(["push", &target]);
    registry.forget_requests();
    let second = dlpack.run(["push", &target]);
    assert_eq!((second.status, second.stdout), (0, format!("{first}\n")), "the digest alone is on stdout");
    let requests = registry.requests();
    assert_eq!(sends(&requests), Vec::<&Request>::new());
    assert_eq!(requests.iter().filter(|request| request.method == "PUT").count(), 1);
    assert!(second.stderr.contains("10 blobs there already, 0 mounted, 0 sent (0 B)"), "{}", second.stderr);
}

#[test]
fn a_changed_wheel_sends_its_layer_and_the_config() {
    let registry = DebianRegistry::start();
    let dlpack = on_base_of(&registry);
    dlpack.ok(["push", &registry.reference("team/env:1")]);
    dlpack.edit("dlpack.toml", "six==1.16.0", "six==1.15.0");
    registry.forget_requests();
    let pushed = dlpack.json(["push", "--update", &registry.reference("team/env:2")]);
    let sent = |name: &str| pushed[name].as_u64().unwrap();
    assert_eq!((sent("built"), sent("uploaded"), sent("mounted"), sent("present")), (1, 2, 0, 8));
    assert!(sent("bytes") < 30_000, "{pushed}");
    let requests = registry.requests();
    let uploads = requests.iter().filter(|request| request.method == "PUT" && request.target.contains("/blobs/"));
    assert_eq!(uploads.count(), 2);
}

#[test]
fn from_one_registry_to_another_the_base_streams_through_and_not_to_the_disk() {
    let (here, there) = (DebianRegistry::start(), DebianRegistry::start());
    let dlpack = on_base_of(&here);
    let target = there.reference("team/env:1");
    let pushed = dlpack.json(["push", &target]);
    assert_eq!((&pushed["mounted"], &pushed["uploaded"]), (&json!(0), &json!(10)));
    assert_eq!(here.blob_reads().len(), 3, "each layer once");
    let digest = pushed["digest"].as_str().unwrap();
    for layer in &dlpack.layers_of(digest)[..3] {
        assert_eq!(fs::read(there.blob_file(layer)).unwrap(), fs::read(here.blob_file(layer)).unwrap());
        assert!(!dlpack.blob(layer).exists(), "it is not in the store");
    }
    here.forget_requests();
    assert_eq!(dlpack.json(["push", &target])["present"], 10);
    assert_eq!(here.requests(), [], "the base's registry is asked for nothing");
}

#[test]
fn docker_hub_is_what_registries_conf_says_and_mounts_as_well() {
    let registry = DebianRegistry::start();
    let dlpack = Dlpack::with_docker_io(registry.address());
    bases(&dlpack).push("base", &registry, "library/small:1", Form::Oci);
    dlpack.write_recipe("\"small:1\"");
    let pushed = dlpack.json(["push", "yunseokim/dl-env:tag"]);
    assert_eq!(pushed["mounted"], 3);
    assert_eq!(skopeo(&[], &registry.reference("yunseokim/dl-env:tag"))["Digest"], pushed["digest"]);
    let manifest = dlpack.stored(pushed["digest"].as_str().unwrap());
    assert_eq!(manifest["annotations"]["org.opencontainers.image.base.name"], "docker.io/library/small:1");
}

#[test]
fn a_password_is_asked_for_kept_and_forgotten() {
    let registry = DebianRegistry::start_with_password();
    let dlpack = Dlpack::new();
    dlpack.write_recipe("\"scratch\"");
    dlpack.ok(["build"]);
    let target = registry.reference("team/env:1");
    let refused = dlpack.refuses(5, ["push", &target]);
    assert!(refused.contains(&format!("dlpack login {}", registry.address())), "{refused}");

    let login = |password: &str| {
        let mut login = dlpack.command(["login", registry.address(), "--username", USER, "--password-stdin"]);
        let mut login = login.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        writeln!(login.stdin.take().unwrap(), "{password}").unwrap();
        Ran::from(login.wait_with_output().unwrap())
    };
    assert_eq!(login("guess").status, 5);
    assert_eq!(dlpack.run(["push", &target]).status, 5, "a wrong password is not kept");
    assert_eq!(login(PASSWORD).status, 0);
    let digest = dlpack.ok(["push", &target]);
    let creds = format!("--creds={USER}:{PASSWORD}");
    assert_eq!(skopeo(&[&creds], &target)["Digest"], digest);
    dlpack.ok(["logout", registry.address()]);
    dlpack.refuses(5, ["push", &target]);
}

#[test]
fn a_layer_that_only_the_target_has_is_not_built_again() {
    let registry = DebianRegistry::start();
    let dlpack = on_base_of(&registry);
    let target = registry.reference("team/env:1");
    let first = dlpack.json(["push", &target]);
    let layers = dlpack.layers_of(first["digest"].as_str().unwrap());
    assert!(layers[3..].iter().all(|layer| !dlpack.blob(layer).exists()), "it keeps none that it could make again");
    fs::remove_dir_all(dlpack.store().join("downloads/sha256")).unwrap();
    assert_eq!(dlpack.ok(["plan", &target]).matches("in the target").count(), 6);
    let again = dlpack.json(["push", &target]);
    assert_eq!(again["digest"], first["digest"]);
    assert_eq!((&again["built"], &again["uploaded"], &again["present"]), (&json!(0), &json!(0), &json!(10)));
    assert!(!dlpack.blob(&layers[4]).exists());
}

#[test]
fn what_is_pushed_is_oci_throughout_whatever_the_base_is() {
    let registry = DebianRegistry::start();
    let dlpack = Dlpack::new();
    let layout = bases(&dlpack);
    layout.push("index", &registry, "bases/docker:1", Form::Docker);
    let docker = skopeo(&["--raw"], &registry.reference("bases/docker:1"));
    assert_eq!(docker["mediaType"], "application/vnd.docker.distribution.manifest.list.v2+json");
    let layer = "application/vnd.oci.image.layer.v1.tar";
    let docker = format!("{:?}", registry.reference("bases/docker:1"));
    let mixed = "{ layout = \"bases\", tag = \"mixed\" }";
    for (name, base, expected) in
        [("docker", docker.as_str(), ["+gzip", "+gzip", "+gzip"]), ("mixed", mixed, ["+gzip", "+zstd", ""])]
    {
        dlpack.write_recipe(base);
        let target = registry.reference(&format!("team/{name}:1"));
        dlpack.ok(["push", "--update", &target]);
        let manifest = skopeo(&["--raw"], &target);
        assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
        assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
        let types: Vec<_> = manifest["layers"].as_array().unwrap().iter().map(|layer| &layer["mediaType"]).collect();
        for (found, suffix) in types.iter().zip(expected.iter().chain(&["+gzip"; 6])) {
            assert_eq!(**found, format!("{layer}{suffix}"), "{name}");
        }
        assert_eq!(types.len(), 9);
    }
}

#[test]
fn the_platform_chooses_the_base_and_what_the_image_says_it_is() {
    let registry = DebianRegistry::start();
    let dlpack = Dlpack::new();
    bases(&dlpack).push("index", &registry, "bases/both:1", Form::Oci);
    let base = format!("base = {:?}\n[[layer]]\nkind = \"timezone\"\nzone = \"Asia/Seoul\"\n", {
        registry.reference("bases/both:1")
    });
    dlpack.write("dlpack.toml", &base);
    let target = registry.reference("team/arm:1");
    dlpack.ok(["push", "--platform", "linux/arm64", &target]);
    let config = skopeo(&["--config"], &target);
    assert_eq!((&config["architecture"], &config["os"]), (&json!("arm64"), &json!("linux")));
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);
    let refused = dlpack.refuses(3, ["push", "--update", "--platform", "linux/riscv64", &target]);
    assert!(refused.contains("linux/amd64") && refused.contains("linux/arm64"), "{refused}");
}

#[test]
fn a_tag_names_what_it_named_until_the_last_blob_has_arrived() {
    let registry = DebianRegistry::start();
    let dlpack = on_base_of(&registry);
    let target = registry.reference("team/env:1");
    let before = dlpack.ok(["push", &target]);
    dlpack.edit("dlpack.toml", "six==1.16.0", "six==1.15.0");
    let built = dlpack.ok(["build", "--update"]);
    let changed = dlpack.blob(&dlpack.layers_of(&built)[6]);
    let bytes = fs::read(&changed).unwrap();
    let mut damaged = bytes.clone();
    damaged[100] ^= 1;
    fs::write(&changed, damaged).unwrap();
    let refused = dlpack.refuses(6, ["push", &target]);
    assert!(refused.contains("damaged") && refused.contains("hint:"), "{refused}");
    assert_eq!(skopeo(&[], &target)["Digest"], before);
    assert_eq!(dlpack.ok(["push", &target]), built, "the next push makes it anew");
    assert_eq!(skopeo(&[], &target)["Digest"], built);
}
