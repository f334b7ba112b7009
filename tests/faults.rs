//! Every fault of a registry, on pull and on push: what passes heals by asking
//! again, what stays gets its name; nothing wrong is kept, no credential goes
//! astray, and the next honest run succeeds.

use std::io::Write as _;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use dlpack::oci::{Descriptor, Digest, Manifest, ManifestOrIndex, media_type, parse_manifest};
use dlpack::registry::serve::{Auth, Fault, Options, Server, Tokens, What};
use dlpack::registry::{
    BlobOrigin, Credential, Credentials, Error, Reference, Registries, Repository, Retry, Settings,
};
use dlpack::store::{self, Area, Store};
use futures_util::TryStreamExt as _;
use tempfile::TempDir;

use crate::support::shown::Shown;

/// The layer's length: several pieces on the way, and more than counts as progress.
const LAYER: u64 = 3_000_000;

/// A registry that misbehaves, a store on this side, and an image on one of them.
struct Scene {
    server: Server,
    remote: Store,
    local: Store,
    image: Digest,
    registries: Registries,
    waits: Arc<Mutex<Vec<Duration>>>,
    _directory: TempDir,
}

impl Scene {
    /// The image is at the registry.
    fn to_pull(options: Options) -> Self {
        Self::new(options, true)
    }

    /// The image is here.
    fn to_push(options: Options) -> Self {
        Self::new(options, false)
    }

    fn new(mut options: Options, remote_has_it: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let open = |name: &str| Store::open(&directory.path().join(name)).unwrap();
        let (remote, local) = (open("remote"), open("local"));
        let image = put_image(if remote_has_it { &remote } else { &local });
        let faults = std::mem::take(&mut options.faults);
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), remote.clone(), options).unwrap();
        server.set_faults(faults);
        let waits = Arc::<Mutex<Vec<Duration>>>::default();
        let waited = waits.clone();
        let retry = Retry::default().with_pause(move |pause| {
            waited.lock().unwrap().push(pause);
            Box::pin(std::future::ready(()))
        });
        let credentials = Credentials::only(&server.address().to_string(), Credential::basic("anna", "secret"));
        let registries = Registries::new(Settings { retry, credentials, ..Settings::default() }).unwrap();
        Self { server, remote, local, image, registries, waits, _directory: directory }
    }

    fn repository(&self, name: &str) -> Repository {
        let reference: Reference = format!("{}/{name}:tag", self.server.address()).parse().unwrap();
        self.registries.repository(&reference).unwrap()
    }

    /// Pulls `team/image:tag` into the local store.
    fn pull(&self) -> Result<Digest, Failure> {
        block_on(async {
            let repository = self.repository("team/image");
            let (descriptor, bytes) = repository.manifest("tag").await?;
            let Ok(ManifestOrIndex::Manifest(manifest)) = parse_manifest(&bytes, &descriptor.media_type) else {
                panic!("an index came");
            };
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                let mut writer = self.local.writer()?;
                let mut stream = repository.pull_blob(blob);
                while let Some(piece) = stream.try_next().await? {
                    writer.write_all(&piece).unwrap();
                }
                self.local.keep_as(Area::Blobs, writer, &blob.digest, blob.size)?;
            }
            Ok(self.local.put(Area::Blobs, &bytes)?)
        })
    }

    /// Pushes the local store's image to `team/image:tag`, offering a mount.
    fn push(&self) -> Result<Digest, Failure> {
        block_on(async {
            let repository = self.repository("team/image");
            let bytes = self.local.read(Area::Blobs, &self.image)?.unwrap();
            let Ok(ManifestOrIndex::Manifest(manifest)) = parse_manifest(&bytes, media_type::MANIFEST) else {
                panic!("an index is here");
            };
            let base = self.repository("team/base");
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                let origin = BlobOrigin::Store(self.local.clone());
                repository.push_blob(blob, &origin, Some(&base), &|_| {}).await?;
            }
            Ok(repository.push_manifest("tag", media_type::MANIFEST, &bytes).await?)
        })
    }

    /// Shows the error of `case`. Where a connection was seen to break is chance, and
    /// no snapshot has it.
    fn show(&self, shown: &mut Shown, case: &str, failure: Failure) {
        if !matches!(&failure, Failure::Registry(error) if matches!(**error, Error::Http(_) | Error::Broken { .. }))
            || case.ends_with("in circles")
        {
            shown.replace(self.server.address().to_string(), "REGISTRY");
            shown.add(case, failure);
        }
    }

    /// Nothing lies under a wrong name, and nothing is left half-written.
    fn assert_stores_are_sound(&self, case: &str) {
        for store in [&self.local, &self.remote] {
            assert_eq!(store.verify(&|_| {}).unwrap().damaged, Vec::<std::path::PathBuf>::new(), "{case}");
        }
        assert_eq!(std::fs::read_dir(self.local.root().join("tmp")).unwrap().count(), 0, "{case}");
        let image: Vec<Digest> = blobs_of_the_image();
        let entries = self.local.entries().unwrap();
        assert!(entries.iter().all(|entry| image.contains(&entry.digest)), "{case}: {entries:?}");
    }
}

/// Either side of a transfer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Registry(Box<Error>),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Registry(Box::new(error))
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

fn layer() -> &'static [u8] {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut bytes = vec![0; LAYER as usize];
        fastrand::Rng::with_seed(7).fill(&mut bytes);
        bytes
    });
    &BYTES
}

fn manifest() -> Vec<u8> {
    let layer = Descriptor::of(media_type::LAYER_GZIP, layer());
    serde_json::to_vec(&Manifest::new(Descriptor::of(media_type::CONFIG, b"{}"), vec![layer])).unwrap()
}

fn blobs_of_the_image() -> Vec<Digest> {
    vec![Digest::of(&manifest()), Digest::of(b"{}"), Digest::of(layer())]
}

fn put_image(store: &Store) -> Digest {
    store.put(Area::Blobs, b"{}").unwrap();
    store.put(Area::Blobs, layer()).unwrap();
    let digest = store.put(Area::Blobs, &manifest()).unwrap();
    store.tag("docker.io/team/image:tag", &Descriptor::of(media_type::MANIFEST, &manifest())).unwrap();
    digest
}

impl From<Failure> for dlpack::cli::error::Failure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Registry(error) => (*error).into(),
            Failure::Store(error) => error.into(),
        }
    }
}

/// The name of the error's variant.
fn name_of(failure: &Failure) -> String {
    let Failure::Registry(error) = failure else { return format!("{failure:?}") };
    let debug = format!("{error:?}");
    // A connection that breaks at the first byte may or may not have brought the headers.
    let debug = debug.replace("Broken {", "Http {");
    debug.split([' ', '(', '{']).next().unwrap().to_owned()
}

fn answer(status: u16) -> What {
    What::Answer(status, Vec::new(), Vec::new())
}

fn wait(status: u16, retry_after: &str) -> What {
    What::Answer(status, vec![("retry-after", retry_after.to_owned())], Vec::new())
}

const GREETING: &str = "/v2/";
const MANIFESTS: &str = "/manifests/";
const UPLOADS: &str = "/blobs/uploads/";

/// `/blobs/DIGEST` of the layer.
fn layer_path() -> String {
    format!("/blobs/{}", Digest::of(layer()))
}

fn on(method: &str, target: &str, what: What) -> Fault {
    Fault::on(method, target, what)
}

/// A request of the layer's rest, after the first breaks in its middle.
fn resumed(what: What) -> Vec<Fault> {
    let layer = layer_path();
    vec![on("GET", &layer, What::BreakAnswer(LAYER / 2)), on("GET", &layer, what)]
}

#[test]
fn a_pull_heals_from_every_fault_that_passes() {
    let layer = layer_path();
    let layer = layer.as_str();
    let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(30));
    let cases: Vec<(&str, Vec<Fault>)> = vec![
        ("greeting: 503", vec![on("GET", GREETING, answer(503))]),
        ("greeting: no answer", vec![on("GET", GREETING, What::LoseAnswer)]),
        ("manifest: 408", vec![on("GET", MANIFESTS, answer(408))]),
        ("manifest: 500", vec![on("GET", MANIFESTS, answer(500))]),
        ("manifest: 502 thrice", vec![on("GET", MANIFESTS, answer(502)).times(3)]),
        ("manifest: 503 for seconds", vec![on("GET", MANIFESTS, wait(503, "2"))]),
        ("manifest: 429 until a date", vec![on("GET", MANIFESTS, wait(429, &date))]),
        ("manifest: 429 with nonsense", vec![on("GET", MANIFESTS, wait(429, "soon"))]),
        ("manifest: no answer", vec![on("GET", MANIFESTS, What::LoseAnswer)]),
        ("manifest: broken off", vec![on("GET", MANIFESTS, What::BreakAnswer(100))]),
        ("blob: 500", vec![on("GET", layer, answer(500))]),
        ("blob: 504", vec![on("GET", layer, answer(504))]),
        ("blob: 429", vec![on("GET", layer, wait(429, "1"))]),
        ("blob: no answer", vec![on("GET", layer, What::LoseAnswer)]),
        ("blob: broken before its first byte", vec![on("GET", layer, What::BreakAnswer(0))]),
        ("blob: broken after its first byte", vec![on("GET", layer, What::BreakAnswer(1))]),
        ("blob: broken before its last byte", vec![on("GET", layer, What::BreakAnswer(LAYER - 1))]),
        ("blob: broken again and again", vec![on("GET", layer, What::BreakAnswer(100_000)).times(5)]),
        ("blob: too short, and says so", vec![on("GET", layer, What::Shorten(1000))]),
        ("blob: too long, and says so", vec![on("GET", layer, What::Lengthen(1000))]),
        ("blob: Range not seen", resumed(What::IgnoreRange)),
        ("blob: another part", resumed(What::Header("content-range", format!("bytes 0-9/{LAYER}")))),
        ("blob: a part without Content-Range", resumed(What::NoHeader("content-range"))),
        ("blob: a part too short", resumed(What::Shorten(1))),
        ("blob: 500 for a part", resumed(answer(500))),
    ];
    for (case, faults) in cases {
        let scene = Scene::to_pull(Options { faults, ..Options::default() });
        assert_eq!(scene.pull().unwrap_or_else(|error| panic!("{case}: {error:?}")), scene.image, "{case}");
        scene.assert_stores_are_sound(case);
        assert!(!scene.waits.lock().unwrap().is_empty(), "{case}: nothing went wrong");
    }
}

#[test]
fn a_registry_is_left_alone_for_as_long_as_it_asks() {
    let pull = Scene::to_pull(Options::default());
    pull.server.set_faults(vec![on("GET", MANIFESTS, wait(429, "7"))]);
    assert_eq!(pull.pull().unwrap(), pull.image);
    assert_eq!(*pull.waits.lock().unwrap(), [Duration::from_secs(7)]);

    let push = Scene::to_push(Options::default());
    push.server.set_faults(vec![on("POST", UPLOADS, wait(503, "11")).after(1)]);
    assert_eq!(push.push().unwrap(), push.image);
    assert_eq!(*push.waits.lock().unwrap(), [Duration::from_secs(11)]);
}

#[test]
fn a_pull_names_every_fault_that_stays_and_the_next_honest_one_succeeds() {
    let layer = layer_path();
    let layer = layer.as_str();
    let other = Digest::of(b"other").to_string();
    let both = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::MANIFEST, "layers": [], "manifests": [],
        "config": { "mediaType": media_type::CONFIG, "digest": other, "size": 2 },
    });
    let ambiguous =
        What::Answer(200, vec![("content-type", media_type::MANIFEST.into())], both.to_string().into_bytes());
    let header = |name, value: &str| What::Header(name, value.to_owned());
    let cases: Vec<(&str, Fault, &str)> = vec![
        ("greeting: 503 for ever", on("GET", GREETING, answer(503)), "Refused"),
        ("manifest: 503 for ever", on("GET", MANIFESTS, answer(503)), "Refused"),
        ("manifest: 429 for a century", on("GET", MANIFESTS, wait(429, "3155760000")), "AskedToWait"),
        ("manifest: 429 beyond numbers", on("GET", MANIFESTS, wait(429, &"9".repeat(30))), "AskedToWait"),
        ("manifest: 403", on("GET", MANIFESTS, answer(403)), "Refused"),
        ("manifest: 404", on("GET", MANIFESTS, answer(404)), "NotFound"),
        ("manifest: 401 without a challenge", on("GET", MANIFESTS, answer(401)), "Unauthorized"),
        ("manifest: a bit flipped", on("GET", MANIFESTS, What::Flip(40)), "Digest"),
        ("manifest: shortened", on("GET", MANIFESTS, What::Shorten(1)), "Digest"),
        ("manifest: another digest announced", on("GET", MANIFESTS, header("docker-content-digest", &other)), "Digest"),
        ("manifest: no digest", on("GET", MANIFESTS, header("docker-content-digest", "sha256:..")), "Header"),
        ("manifest: a web page", on("GET", MANIFESTS, header("content-type", "text/html")), "Manifest"),
        ("manifest: said to be an index", on("GET", MANIFESTS, header("content-type", media_type::INDEX)), "Manifest"),
        ("manifest: no type", on("GET", MANIFESTS, What::NoHeader("content-type")), "Header"),
        ("manifest: layers and manifests", on("GET", MANIFESTS, ambiguous), "Manifest"),
        ("manifest: 5 MiB", on("GET", MANIFESTS, What::Lengthen(5 << 20)), "TooLarge"),
        ("manifest: in circles", on("GET", MANIFESTS, redirect("/v2/team/image/manifests/tag")), "Http"),
        ("blob: 404", on("GET", layer, answer(404)), "NotFound"),
        ("blob: a bit flipped", on("GET", layer, What::Flip(LAYER / 2)), "Digest"),
        ("blob: its last bit flipped", on("GET", layer, What::Flip(LAYER - 1)), "Digest"),
        ("blob: too short", on("GET", layer, What::Shorten(1)), "Length"),
        ("blob: too long", on("GET", layer, What::Lengthen(1)), "Length"),
        ("blob: broken for ever", on("GET", layer, What::BreakAnswer(0)), "Http"),
    ];
    let mut shown = Shown::new();
    for (case, fault, expected) in cases {
        let scene = Scene::to_pull(Options { faults: vec![fault.always()], ..Options::default() });
        let failure = scene.pull().expect_err(case);
        assert_eq!(name_of(&failure), expected, "{case}: {failure:?}");
        scene.show(&mut shown, case, failure);
        scene.assert_stores_are_sound(case);
        assert!(scene.server.requests().len() < 20, "{case}: it was asked again and again");
        scene.server.set_faults(Vec::new());
        assert_eq!(scene.pull().unwrap_or_else(|error| panic!("{case}: {error:?}")), scene.image, "{case}");
    }
    shown.is("registries/pull");
}

#[test]
fn a_pull_that_breaks_off_again_and_again_says_how_far_it_got() {
    let fault = on("GET", &layer_path(), What::BreakAnswer(10_000)).always();
    let scene = Scene::to_pull(Options { faults: vec![fault], ..Options::default() });
    let Failure::Registry(error) = scene.pull().unwrap_err() else { panic!("the registry's") };
    let mut shown = Shown::new();
    shown.replace(scene.server.address().to_string(), "REGISTRY");
    shown.add_without_causes("broken off", *error);
    shown.is("registries/broken");
}

fn redirect(to: &str) -> What {
    What::Answer(307, vec![("location", to.to_owned())], Vec::new())
}

#[test]
fn a_push_heals_from_every_fault_that_passes() {
    let layer_digest = Digest::of(layer());
    let layer = layer_path();
    let layer = layer.as_str();
    let broken = |what| vec![on("PUT", UPLOADS, What::BreakRequest(LAYER / 2)), what];
    let cases: Vec<(&str, Vec<Fault>)> = vec![
        ("blob: HEAD 503", vec![on("HEAD", layer, answer(503))]),
        ("mount: 503", vec![on("POST", "mount=", answer(503))]),
        ("mount: no answer", vec![on("POST", "mount=", What::LoseAnswer)]),
        ("upload: 429", vec![on("POST", UPLOADS, wait(429, "1"))]),
        ("upload: 500", vec![on("PUT", UPLOADS, answer(500))]),
        ("upload: broken before its first byte", vec![on("PUT", UPLOADS, What::BreakRequest(0))]),
        ("upload: broken in its middle", vec![on("PUT", UPLOADS, What::BreakRequest(LAYER / 2))]),
        ("upload: broken thrice", vec![on("PUT", UPLOADS, What::BreakRequest(LAYER / 2)).times(3)]),
        ("upload: answer lost after the commit", vec![on("PUT", UPLOADS, What::LoseAnswer)]),
        ("upload: 502 after the commit", vec![on("PUT", UPLOADS, What::LieAnswer(502))]),
        ("upload: session forgotten", vec![on("PUT", UPLOADS, What::ForgetSession)]),
        ("upload: no closing PUT with a body", vec![on("PUT", UPLOADS, answer(405))]),
        ("resumed: state unknown", broken(on("GET", UPLOADS, answer(500)))),
        ("resumed: session forgotten", broken(on("GET", UPLOADS, What::ForgetSession))),
        ("resumed: PATCH 503", broken(on("PATCH", UPLOADS, answer(503)))),
        ("resumed: PATCH out of order", broken(on("PATCH", UPLOADS, answer(416)))),
        ("resumed: PATCH broken", broken(on("PATCH", UPLOADS, What::BreakRequest(1000)))),
        ("resumed: PATCH's answer lost", broken(on("PATCH", UPLOADS, What::LoseAnswer))),
        ("resumed: session forgotten at the end", broken(on("PUT", UPLOADS, What::ForgetSession).after(1))),
        ("manifest: 503", vec![on("PUT", MANIFESTS, wait(503, "1"))]),
        ("manifest: broken", vec![on("PUT", MANIFESTS, What::BreakRequest(10))]),
        ("manifest: answer lost after the commit", vec![on("PUT", MANIFESTS, What::LoseAnswer)]),
    ];
    for (case, faults) in cases {
        let scene = Scene::to_push(Options { faults, ..Options::default() });
        assert_eq!(scene.push().unwrap_or_else(|error| panic!("{case}: {error:?}")), scene.image, "{case}");
        assert!(!scene.waits.lock().unwrap().is_empty(), "{case}: nothing went wrong");
        scene.assert_stores_are_sound(case);
        assert_eq!(scene.remote.size(Area::Blobs, &layer_digest), Some(LAYER), "{case}");
    }
}

#[test]
fn an_upload_goes_where_its_location_says_in_whatever_form() {
    for (absolute, after) in [(false, "?state=a%2Fb"), (true, ""), (true, "?state=1&more=2")] {
        let scene = Scene::to_push(Options::default());
        let before = if absolute { format!("http://{}", scene.server.address()) } else { String::new() };
        let what = What::Location(before, after.to_owned());
        scene.server.set_faults(vec![
            on("POST", UPLOADS, what.clone()).always(),
            on("PUT", UPLOADS, What::BreakRequest(LAYER / 2)),
            on("GET", UPLOADS, what.clone()).always(),
            on("PATCH", UPLOADS, what).always(),
        ]);
        assert_eq!(scene.push().unwrap(), scene.image);
        let upload = scene.server.requests().into_iter().find(|request| request.method == "PUT").unwrap();
        assert!(upload.target.contains(after.trim_start_matches('?')), "{}", upload.target);
    }
}

#[test]
fn a_declined_mount_becomes_an_upload() {
    for what in [What::DeclineMount, answer(202), answer(403), answer(405), answer(400)] {
        let scene = Scene::to_push(Options::default());
        scene.server.set_faults(vec![on("POST", "mount=", what).always()]);
        assert_eq!(scene.push().unwrap(), scene.image);
        scene.assert_stores_are_sound("mount");
    }
}

#[test]
fn a_push_names_every_fault_that_stays_and_the_next_honest_one_succeeds() {
    let other = Digest::of(b"other").to_string();
    let announced = || What::Header("docker-content-digest", other.clone());
    let cases: Vec<(&str, Fault, &str)> = vec![
        ("upload: 503 for ever", on("POST", UPLOADS, answer(503)), "Refused"),
        ("upload: 403", on("POST", UPLOADS, answer(403)), "Refused"),
        ("upload: 401 without a challenge", on("POST", UPLOADS, answer(401)), "Unauthorized"),
        ("upload: 413", on("PUT", UPLOADS, answer(413)), "Refused"),
        ("upload: no Location", on("POST", UPLOADS, What::NoHeader("location")), "Header"),
        ("upload: another digest stored", on("PUT", UPLOADS, announced()), "Stored"),
        ("manifest: another digest stored", on("PUT", MANIFESTS, announced()), "Stored"),
        ("manifest: 400", on("PUT", MANIFESTS, answer(400)), "Refused"),
        ("manifest: 503 for ever", on("PUT", MANIFESTS, answer(503)), "Refused"),
    ];
    let mut shown = Shown::new();
    for (case, fault, expected) in cases {
        let scene = Scene::to_push(Options { faults: vec![fault.always()], ..Options::default() });
        let failure = scene.push().expect_err(case);
        assert_eq!(name_of(&failure), expected, "{case}: {failure:?}");
        scene.show(&mut shown, case, failure);
        scene.assert_stores_are_sound(case);
        scene.server.set_faults(Vec::new());
        assert_eq!(scene.push().unwrap_or_else(|error| panic!("{case}: {error:?}")), scene.image, "{case}");
    }
    shown.is("registries/push");
}

#[test]
fn a_damaged_layer_is_not_pushed_and_is_dropped() {
    let scene = Scene::to_push(Options::default());
    let digest = Digest::of(layer());
    let path = scene.local.path(Area::Blobs, &digest);
    let mut bytes = layer().to_vec();
    bytes[1000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let failure = scene.push().unwrap_err();
    assert_eq!(name_of(&failure), "OriginStore", "{failure:?}");
    let mut shown = Shown::new();
    shown.replace(scene.local.root().display().to_string(), "STORE");
    shown.add("a damaged layer", failure);
    shown.add("a layer that was dropped", scene.push().unwrap_err());
    shown.is("registries/origins");
    assert!(!path.exists());
    assert_eq!(scene.remote.size(Area::Blobs, &digest), None);
    scene.local.put(Area::Blobs, layer()).unwrap();
    assert_eq!(scene.push().unwrap(), scene.image);
}

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
        scene.assert_stores_are_sound("redirect");
        scene.server.set_faults(Vec::new());
        assert_eq!(scene.pull().unwrap(), scene.image);
    }
}

#[test]
fn a_pull_that_is_given_up_while_nothing_moves_leaves_nothing_behind() {
    let scene = Scene::to_pull(Options::default());
    scene.server.set_faults(vec![on("GET", &layer_path(), What::Stall(LAYER / 2))]);
    block_on(async {
        let repository = scene.repository("team/image");
        let mut writer = scene.local.writer().unwrap();
        let mut stream = repository.pull_blob(&Descriptor::of(media_type::LAYER_GZIP, layer()));
        while writer.written() < LAYER / 4 {
            writer.write_all(&stream.try_next().await.unwrap().unwrap()).unwrap();
        }
    });
    scene.assert_stores_are_sound("given up");
    assert_eq!(scene.pull().unwrap(), scene.image);
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
        shown.replace(scene.server.address().to_string(), "REGISTRY");
        shown.replace(other.address().to_string(), "ELSEWHERE");
        shown.add("an upload sent elsewhere", failure);
        shown.is("registries/locations");
        assert_eq!(other.requests().len(), 0);
        scene.server.set_faults(Vec::new());
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
    scene.assert_stores_are_sound("realm");
}
