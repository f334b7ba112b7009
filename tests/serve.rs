//! The embedded registry against the clients that people have: skopeo, podman,
//! curl for what the distribution-spec says in detail.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use dlpack::oci::{Descriptor, Digest, Manifest, media_type};
use dlpack::registry::serve::{Auth, Error, Features, Options, Server, Tokens};
use dlpack::store::{self, Area, Policy, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::image::{Layout, Packing, Tar};
use crate::support::output;

/// A registry over a store of its own.
struct Registry {
    server: Server,
    store: Store,
    directory: TempDir,
}

impl Registry {
    fn start() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), store.clone(), options).unwrap();
        Self { server, store, directory }
    }

    fn curl(&self, target: &str, arguments: &[&str]) -> Reply {
        let target = if target.starts_with('/') { target } else { &target[target.find("/v2").unwrap()..] };
        let url = format!("http://{}{target}", self.server.address());
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--include", "--http1.1", "--header", "Expect:"]);
        let output = output(command.args(arguments).arg(url), "curl");
        Reply::parse(&output.stdout)
    }

    /// Uploads `bytes` in one POST.
    fn put_blob(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let file = self.file(bytes);
        let reply = self.curl(&format!("/v2/{name}/blobs/uploads/?digest={digest}"), &["--data-binary", &file]);
        assert_eq!(reply.status, 201, "{}", reply.text());
        digest
    }

    fn put_manifest(&self, name: &str, reference: &str, media_type: &str, body: &[u8]) -> Reply {
        let (file, header) = (self.file(body), format!("Content-Type: {media_type}"));
        let target = format!("/v2/{name}/manifests/{reference}");
        self.curl(&target, &["-X", "PUT", "--header", &header, "--data-binary", &file])
    }

    /// An image of a config and one layer, tagged.
    fn put_image(&self, name: &str, tag: &str, layer: &[u8]) -> Digest {
        let config = b"{}";
        let manifest = Manifest::new(
            Descriptor::new(media_type::CONFIG, self.put_blob(name, config), config.len() as u64),
            vec![Descriptor::new(media_type::LAYER_TAR, self.put_blob(name, layer), layer.len() as u64)],
        );
        let bytes = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(self.put_manifest(name, tag, media_type::MANIFEST, &bytes).status, 201);
        Digest::of(&bytes)
    }

    /// `@FILE` for curl.
    fn file(&self, bytes: &[u8]) -> String {
        let path = self.directory.path().join(format!("body-{}", Digest::of(bytes).short()));
        std::fs::write(&path, bytes).unwrap();
        format!("@{}", path.display())
    }

    fn begin(&self, name: &str) -> String {
        let reply = self.curl(&format!("/v2/{name}/blobs/uploads/"), &["-X", "POST"]);
        assert_eq!(reply.status, 202);
        reply.header("location").unwrap().to_owned()
    }
}

struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an HTTP response");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Self { status, headers, body: bytes[end + 4..].to_vec() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Status and error code.
    fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["errors"][0]["code"].as_str().unwrap().to_owned())
    }
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn skopeo(arguments: &[&str]) -> String {
    let output = output(Command::new("skopeo").arg("--insecure-policy").args(arguments), "skopeo");
    String::from_utf8(output.stdout).unwrap()
}

fn small_image(layout: &Layout) {
    layout.image().layer(Packing::Gzip, Tar::new().file("hello", "hello\n")).tagged("v1");
}

#[test]
fn skopeo_pushes_lists_and_pulls_the_same_image() {
    let registry = Registry::start();
    let layout = Layout::create(registry.directory.path().join("in"));
    small_image(&layout);
    let source = format!("oci:{}:v1", layout.path().display());
    let remote = format!("docker://{}/team/hello:v1", registry.server.address());
    skopeo(&["copy", "--dest-tls-verify=false", &source, &remote]);

    let name = remote.strip_suffix(":v1").unwrap();
    let tags: Value = serde_json::from_str(&skopeo(&["list-tags", "--tls-verify=false", name])).unwrap();
    assert_eq!(tags["Tags"], json!(["v1"]));
    let back = format!("oci:{}:v1", registry.directory.path().join("out").display());
    skopeo(&["copy", "--src-tls-verify=false", &remote, &back]);
    let digest = |of: &str| skopeo(&["inspect", "--format", "{{.Digest}}", of]);
    assert_eq!(digest(&source), digest(&back));
    let inspect = skopeo(&["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &remote]);
    assert_eq!(inspect, digest(&source));
}

#[test]
fn what_was_pushed_is_an_image_layout_that_other_tools_read() {
    let registry = Registry::start();
    let layout = Layout::create(registry.directory.path().join("in"));
    small_image(&layout);
    let remote = format!("docker://{}/team/hello:v1", registry.server.address());
    skopeo(&["copy", "--dest-tls-verify=false", &format!("oci:{}:v1", layout.path().display()), &remote]);

    let store = registry.store.root().display();
    assert_eq!(
        skopeo(&["inspect", "--format", "{{.Digest}}", &format!("oci:{store}:team/hello:v1")]),
        skopeo(&["inspect", "--format", "{{.Digest}}", &format!("oci:{}:v1", layout.path().display())]),
    );
    let manifest = registry.store.resolve("team/hello:v1").unwrap().unwrap();
    registry.store.tag("docker.io/yunseokim/dl-env:1.0", &manifest).unwrap();
    let whole = format!("oci:{store}:docker.io/yunseokim/dl-env:1.0");
    assert_eq!(skopeo(&["inspect", "--format", "{{.Digest}}", &whole]).trim(), manifest.digest.to_string());
    let mut validate = Command::new("oci-image-tool");
    output(
        validate.args(["validate", "--type", "image", "--ref", "name=team/hello:v1"]).arg(registry.store.root()),
        "oci-image-tool",
    );
}

#[test]
fn podman_pushes_and_pulls() {
    let registry = Registry::start();
    let directory = registry.directory.path();
    let layout = Layout::create(directory.join("in"));
    small_image(&layout);
    let podman = |arguments: &[&str]| {
        let mut command = Command::new("podman");
        command.arg("--root").arg(directory.join("podman")).arg("--runroot").arg(directory.join("run"));
        output(command.args(["--storage-driver", "vfs"]).args(arguments), "podman")
    };
    let address = registry.server.address();
    let (first, second) = (format!("{address}/hello:v1"), format!("{address}/team/hello:v2"));
    let source = format!("oci:{}:v1", layout.path().display());
    skopeo(&["copy", "--dest-tls-verify=false", &source, &format!("docker://{first}")]);
    podman(&["pull", "--quiet", "--tls-verify=false", &first]);
    podman(&["push", "--quiet", "--tls-verify=false", &first, &second]);
    assert_eq!(registry.curl("/v2/team/hello/tags/list", &[]).json()["tags"], json!(["v2"]));
}

#[test]
fn an_image_of_the_store_is_offered_under_the_path_of_its_reference() {
    let registry = Registry::start();
    let config = b"{}";
    registry.store.put(Area::Blobs, config).unwrap();
    let layer = registry.store.put(Area::Blobs, b"layer").unwrap();
    let manifest = Manifest::new(
        Descriptor::of(media_type::CONFIG, config),
        vec![Descriptor::of(media_type::LAYER_TAR, b"layer")],
    );
    let bytes = serde_json::to_vec(&manifest).unwrap();
    registry.store.put(Area::Blobs, &bytes).unwrap();
    registry.store.tag("docker.io/yunseokim/dl-env:1.0", &Descriptor::of(media_type::MANIFEST, &bytes)).unwrap();

    let reply = registry.curl("/v2/yunseokim/dl-env/manifests/1.0", &[]);
    assert_eq!((reply.status, reply.body), (200, bytes));
    assert_eq!(reply.headers.iter().filter(|(name, _)| name == "docker-content-digest").count(), 1);
    assert_eq!(registry.curl(&format!("/v2/yunseokim/dl-env/blobs/{layer}"), &[]).body, b"layer");
    // the blob is in the store, and this repository has it not
    assert_eq!(registry.curl(&format!("/v2/other/blobs/{layer}"), &[]).refusal(), refused(404, "BLOB_UNKNOWN"));
    assert_eq!(registry.curl("/v2/_catalog", &[]).json(), json!({ "repositories": ["yunseokim/dl-env"] }));
}

#[test]
fn a_chunk_out_of_order_is_refused_and_the_upload_goes_on_where_it_stood() {
    let registry = Registry::start();
    let location = registry.begin("a");
    let chunk = |range: &str, bytes: &[u8]| {
        let range = format!("Content-Range: {range}");
        registry.curl(&location, &["-X", "PATCH", "--header", &range, "--data-binary", &registry.file(bytes)])
    };
    let first = chunk("0-4", b"hello");
    assert_eq!((first.status, first.header("range")), (202, Some("0-4")));
    let wrong = chunk("6-10", b"world");
    assert_eq!((wrong.status, wrong.header("range")), (416, Some("0-4")));
    let status = registry.curl(&location, &[]);
    assert_eq!((status.status, status.header("range")), (204, Some("0-4")));
    assert_eq!(chunk("5-9", b"world").status, 202);
    let digest = Digest::of(b"helloworld!");
    let last = registry.file(b"!");
    let end = registry.curl(&format!("{location}?digest={digest}"), &["-X", "PUT", "--data-binary", &last]);
    assert_eq!((end.status, end.header("location").unwrap()), (201, format!("/v2/a/blobs/{digest}").as_str()));
    assert_eq!(registry.store.read(Area::Blobs, &digest).unwrap().unwrap(), b"helloworld!");
    assert_eq!(registry.curl(&location, &[]).refusal(), refused(404, "BLOB_UPLOAD_UNKNOWN"));
}

#[test]
fn an_upload_whose_client_went_away_stands_where_its_bytes_ended() {
    let registry = Registry::start();
    let location = registry.begin("a");
    let before = registry.server.requests().len();
    let mut client = TcpStream::connect(registry.server.address()).unwrap();
    write!(client, "PATCH {location} HTTP/1.1\r\nHost: registry\r\nContent-Length: 10\r\n\r\nhello").unwrap();
    drop(client);
    while registry.server.requests().len() == before {
        std::thread::yield_now();
    }
    let status = registry.curl(&location, &[]);
    assert_eq!((status.status, status.header("range")), (204, Some("0-4")));
}

#[test]
fn a_blob_with_another_digest_than_announced_is_not_kept() {
    let registry = Registry::start();
    let digest = Digest::of(b"other");
    let file = registry.file(b"bytes");
    let reply = registry.curl(&format!("/v2/a/blobs/uploads/?digest={digest}"), &["--data-binary", &file]);
    assert_eq!(reply.refusal(), refused(400, "DIGEST_INVALID"));
    for content in [&b"other"[..], b"bytes"] {
        assert_eq!(registry.store.size(Area::Blobs, &Digest::of(content)), None);
    }
    assert_eq!(std::fs::read_dir(registry.store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn an_upload_can_be_given_up() {
    let registry = Registry::start();
    let location = registry.begin("a");
    assert_eq!(registry.curl(&location, &["-X", "DELETE"]).status, 204);
    assert_eq!(registry.curl(&location, &[]).refusal(), refused(404, "BLOB_UPLOAD_UNKNOWN"));
    assert_eq!(std::fs::read_dir(registry.store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_mounted_blob_is_in_both_repositories_and_an_unknown_one_begins_an_upload() {
    let registry = Registry::start();
    let digest = registry.put_blob("a", b"shared");
    let mount =
        |from: &str| registry.curl(&format!("/v2/b/blobs/uploads/?mount={digest}&from={from}"), &["-X", "POST"]);
    assert_eq!(mount("nowhere").status, 202);
    assert_eq!(registry.curl(&format!("/v2/b/blobs/{digest}"), &["--head"]).status, 404);
    let mounted = mount("a");
    assert_eq!((mounted.status, mounted.header("location").unwrap()), (201, format!("/v2/b/blobs/{digest}").as_str()));
    assert_eq!(registry.curl(&format!("/v2/b/blobs/{digest}"), &["--head"]).header("content-length"), Some("6"));
}

#[test]
fn a_feature_that_is_switched_off_answers_as_registries_without_it_do() {
    let features = Features {
        mount: false,
        chunked: false,
        single_post: false,
        range: false,
        referrers: false,
        ..Features::default()
    };
    let registry = Registry::with(Options { features, ..Options::default() });
    let digest = Digest::of(b"0123456789");
    let begun = registry.curl(&format!("/v2/a/blobs/uploads/?digest={digest}"), &["--data-binary", "0123456789"]);
    assert_eq!(begun.status, 202);
    let location = begun.header("location").unwrap();
    let patched = registry.curl(location, &["-X", "PATCH", "--data-binary", "0123456789"]);
    assert_eq!(patched.refusal(), refused(405, "UNSUPPORTED"));
    let put = registry.curl(&format!("{location}?digest={digest}"), &["-X", "PUT", "--data-binary", "0123456789"]);
    assert_eq!(put.status, 201);
    assert_eq!(registry.curl(&format!("/v2/b/blobs/uploads/?mount={digest}&from=a"), &["-X", "POST"]).status, 202);
    assert_eq!(registry.curl(&format!("/v2/a/blobs/{digest}"), &["--range", "2-4"]).status, 200);
    assert_eq!(registry.curl(&format!("/v2/a/referrers/{digest}"), &[]).status, 404);
}

#[test]
fn a_range_of_a_blob_is_partial_content() {
    let registry = Registry::start();
    let digest = registry.put_blob("a", b"0123456789");
    let range = |range: &str| registry.curl(&format!("/v2/a/blobs/{digest}"), &["--range", range]);
    for (wanted, bytes, header) in [
        ("2-4", "234", "bytes 2-4/10"),
        ("7-", "789", "bytes 7-9/10"),
        ("-2", "89", "bytes 8-9/10"),
        ("8-100", "89", "bytes 8-9/10"),
    ] {
        let reply = range(wanted);
        assert_eq!((reply.status, reply.text().as_str(), reply.header("content-range")), (206, bytes, Some(header)));
    }
    let outside = range("10-");
    assert_eq!((outside.status, outside.header("content-range")), (416, Some("bytes */10")));
    assert_eq!(range("4-2").status, 200);
}

#[test]
fn tags_come_in_pages_that_link_to_the_next() {
    let registry = Registry::start();
    for tag in ["c", "a", "b"] {
        registry.put_image("x", tag, b"layer");
    }
    let first = registry.curl("/v2/x/tags/list?n=2", &[]);
    assert_eq!(first.json(), json!({ "name": "x", "tags": ["a", "b"] }));
    assert_eq!(first.header("link"), Some("</v2/x/tags/list?n=2&last=b>; rel=\"next\""));
    let second = registry.curl("/v2/x/tags/list?n=2&last=b", &[]);
    assert_eq!((second.json()["tags"].clone(), second.header("link")), (json!(["c"]), None));
    assert_eq!(registry.curl("/v2/x/tags/list?n=0", &[]).json()["tags"], json!([]));
    assert_eq!(registry.curl("/v2/y/tags/list", &[]).refusal(), refused(404, "NAME_UNKNOWN"));
}

#[test]
fn a_manifest_with_a_subject_is_among_its_referrers() {
    let registry = Registry::start();
    let subject = registry.put_image("x", "image", b"layer");
    let empty = registry.curl(&format!("/v2/x/referrers/{subject}"), &[]);
    assert_eq!((empty.status, empty.header("content-type")), (200, Some(media_type::INDEX)));
    assert_eq!(empty.json()["manifests"], json!([]));

    let config = Descriptor::new("application/vnd.oci.empty.v1+json", registry.put_blob("x", b"{}"), 2);
    let mut artifact = Manifest::new(config, Vec::new());
    artifact.artifact_type = Some("application/vnd.example.sbom".into());
    artifact.annotations.insert("made".into(), "by hand".into());
    artifact.subject = Some(Descriptor::new(media_type::MANIFEST, subject, 1));
    let bytes = serde_json::to_vec(&artifact).unwrap();
    let digest = Digest::of(&bytes).to_string();
    let put = registry.put_manifest("x", &digest, media_type::MANIFEST, &bytes);
    assert_eq!((put.status, put.header("oci-subject")), (201, Some(subject.to_string().as_str())));

    let list = registry.curl(&format!("/v2/x/referrers/{subject}"), &[]).json();
    assert_eq!(
        list["manifests"],
        json!([{
            "mediaType": media_type::MANIFEST,
            "digest": digest,
            "size": bytes.len(),
            "artifactType": "application/vnd.example.sbom",
            "annotations": { "made": "by hand" },
        }])
    );
    let other = registry.curl(&format!("/v2/x/referrers/{subject}?artifactType=other"), &[]);
    assert_eq!(other.header("oci-filters-applied"), Some("artifactType"));
    assert_eq!(other.json()["manifests"], json!([]));
}

#[test]
fn manifests_that_do_not_hold_together_are_refused() {
    let registry = Registry::start();
    let blob = registry.put_blob("x", b"{}");
    let known = json!({ "mediaType": media_type::CONFIG, "digest": blob, "size": 2 });
    let unknown = json!({ "mediaType": media_type::LAYER_TAR, "digest": Digest::of(b"?"), "size": 1 });
    let longer = json!({ "mediaType": media_type::LAYER_TAR, "digest": blob, "size": 3 });
    let put = |content_type: &str, body: &[u8]| registry.put_manifest("x", "bad", content_type, body).refusal();
    let image = |layers: Value| json!({ "schemaVersion": 2, "config": known, "layers": layers }).to_string();

    let manifest = media_type::MANIFEST;
    assert_eq!(put(manifest, image(json!([unknown])).as_bytes()), refused(400, "MANIFEST_BLOB_UNKNOWN"));
    assert_eq!(put(manifest, image(json!([longer])).as_bytes()), refused(400, "MANIFEST_INVALID"));
    assert_eq!(put(manifest, b"no JSON"), refused(400, "MANIFEST_INVALID"));
    assert_eq!(put("text/plain", image(json!([])).as_bytes()), refused(400, "MANIFEST_INVALID"));
    assert_eq!(put(media_type::INDEX, image(json!([])).as_bytes()), refused(400, "MANIFEST_INVALID"));
    let both = json!({ "schemaVersion": 2, "config": known, "layers": [], "manifests": [] }).to_string();
    assert_eq!(put(manifest, both.as_bytes()), refused(400, "MANIFEST_INVALID"));
    let lies = json!({ "mediaType": media_type::INDEX, "config": known, "layers": [] }).to_string();
    assert_eq!(put(manifest, lies.as_bytes()), refused(400, "MANIFEST_INVALID"));
    assert_eq!(put(manifest, &vec![b' '; 4 * 1024 * 1024 + 1]), refused(413, "SIZE_INVALID"));
    let absent = json!({ "schemaVersion": 2, "manifests": [unknown] }).to_string();
    assert_eq!(put(media_type::INDEX, absent.as_bytes()), refused(400, "MANIFEST_BLOB_UNKNOWN"));
    let other = registry.put_manifest("x", &blob.to_string(), manifest, image(json!([])).as_bytes());
    assert_eq!(other.refusal(), refused(400, "DIGEST_INVALID"));
    let good = registry.put_manifest("x", "not@tag", manifest, image(json!([])).as_bytes());
    assert_eq!(good.refusal(), refused(400, "MANIFEST_INVALID"));
    assert_eq!(registry.store.tags().unwrap(), []);
}

#[test]
fn what_is_not_there_is_refused_with_the_code_of_the_specification() {
    let registry = Registry::start();
    registry.put_image("x", "tag", b"layer");
    let absent = Digest::of(b"absent");
    for (target, status, code) in [
        ("/v2/x/manifests/other", 404, "MANIFEST_UNKNOWN"),
        ("/v2/x/manifests/.INVALID_MANIFEST_NAME", 404, "MANIFEST_UNKNOWN"),
        (&format!("/v2/x/manifests/{absent}"), 404, "MANIFEST_UNKNOWN"),
        (&format!("/v2/x/blobs/{absent}"), 404, "BLOB_UNKNOWN"),
        ("/v2/x/blobs/sha256:12", 400, "DIGEST_INVALID"),
        ("/v2/X/tags/list", 400, "NAME_INVALID"),
        ("/v2/x/nothing", 404, "UNSUPPORTED"),
    ] {
        assert_eq!(registry.curl(target, &[]).refusal(), refused(status, code), "{target}");
    }
    assert_eq!(registry.curl("/v2/", &[]).status, 200);
    let head = registry.curl("/v2/x/manifests/other", &["--head"]);
    assert_eq!((head.status, head.body.len()), (404, 0));
}

#[test]
fn a_deleted_tag_is_gone_and_a_blob_that_a_tag_needs_stays() {
    let registry = Registry::start();
    let digest = registry.put_image("x", "a", b"layer");
    assert_eq!(registry.put_image("x", "b", b"layer"), digest);
    let delete = |target: &str| registry.curl(target, &["-X", "DELETE"]);
    let blob = format!("/v2/x/blobs/{}", Digest::of(b"layer"));
    assert_eq!(delete(&blob).refusal(), refused(403, "DENIED"));
    assert_eq!(delete("/v2/x/manifests/a").status, 202);
    assert_eq!(delete("/v2/x/manifests/a").refusal(), refused(404, "MANIFEST_UNKNOWN"));
    assert_eq!(registry.curl("/v2/x/tags/list", &[]).json()["tags"], json!(["b"]));
    assert_eq!(delete(&format!("/v2/x/manifests/{digest}")).status, 202);
    assert_eq!(registry.curl(&format!("/v2/x/manifests/{digest}"), &[]).status, 404);
    assert_eq!(registry.curl("/v2/x/manifests/b", &[]).status, 404);
    assert_eq!(delete(&blob).status, 202);
    assert_eq!(registry.curl(&blob, &["--head"]).status, 404);
}

#[test]
fn collection_leaves_alone_what_a_connected_client_has_pushed() {
    let registry = Registry::start();
    let mut client = TcpStream::connect(registry.server.address()).unwrap();
    client.write_all(b"GET /v2/ HTTP/1.1\r\nHost: registry\r\n\r\n").unwrap();
    client.read_exact(&mut [0; 15]).unwrap();
    let all = Policy { ceiling: Some(0), unused_for: None };
    assert!(matches!(registry.store.gc(&all), Err(store::Error::InUse { .. })));
    drop(client);
    // the server takes its moment to see that the client is gone
    while let Err(error) = registry.store.gc(&all) {
        assert!(matches!(error, store::Error::InUse { .. }), "{error}");
        std::thread::yield_now();
    }
}

#[test]
fn only_loopback_is_listened_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let address = "0.0.0.0:0".parse().unwrap();
    let error = Server::bind(address, store, Options::default()).err().expect("refused");
    assert!(matches!(error, Error::NotLoopback { .. }), "{error}");
}

#[test]
fn skopeo_logs_in_by_token_and_by_password() {
    let tokens = Tokens::default().for_account("anna", "secret");
    let bearer = Auth::Bearer { tokens, realm: None };
    let basic = Auth::Basic { user: "anna".into(), password: "secret".into() };
    for auth in [bearer, basic] {
        let registry = Registry::with(Options { auth: Some(auth), ..Options::default() });
        let layout = Layout::create(registry.directory.path().join("in"));
        small_image(&layout);
        let source = format!("oci:{}:v1", layout.path().display());
        let remote = format!("docker://{}/x:v1", registry.server.address());
        skopeo(&["copy", "--dest-tls-verify=false", "--dest-creds", "anna:secret", &source, &remote]);
        assert_eq!(registry.curl("/v2/x/manifests/v1", &[]).refusal(), refused(401, "UNAUTHORIZED"));
        skopeo(&["inspect", "--tls-verify=false", "--creds", "anna:secret", &remote]);
    }
}

#[test]
fn a_damaged_blob_breaks_off_and_is_dropped() {
    let registry = Registry::start();
    let digest = registry.put_blob("x", b"precious");
    std::fs::write(registry.store.path(Area::Blobs, &digest), b"pretious").unwrap();
    let url = format!("http://{}/v2/x/blobs/{digest}", registry.server.address());
    let curl = Command::new("curl").args(["--silent", "--output", "/dev/null", &url]).status().unwrap();
    assert!(!curl.success());
    assert_eq!(registry.curl(&format!("/v2/x/blobs/{digest}"), &["--head"]).status, 404);
}

#[test]
fn stopping_ends_the_requests_under_way_first() {
    let registry = Registry::start();
    let digest = registry.put_blob("x", &vec![7; 8 << 20]);
    let url = format!("http://{}/v2/x/blobs/{digest}", registry.server.address());
    let before = registry.server.requests().len();
    let mut curl = Command::new("curl");
    let slow = curl.args(["--silent", "--limit-rate", "16M", "--output"]).arg(registry.directory.path().join("got"));
    let mut child = slow.arg(&url).spawn().unwrap();
    while registry.server.requests().len() == before {
        std::thread::yield_now();
    }
    registry.server.stop();
    assert!(child.wait().unwrap().success());
    assert!(!Command::new("curl").args(["--silent", &url]).status().unwrap().success());
}
