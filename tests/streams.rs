//! What a push sends while it is made: no file holds it, its bytes are those of a
//! build, and whatever breaks on the way, it arrives.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dlpack::assemble;
use dlpack::layer::{self, Layer};
use dlpack::oci::{Descriptor, DiffId, Digest, media_type};
use dlpack::registry::serve::{Fault, Features, Options, What};
use dlpack::registry::{Maker, Outlet, Pushed, Registries, Retry, Settings, Transfer};
use dlpack::store::Store;
use serde_json::{Value, json};

use crate::support::command::Dlpack;
use crate::support::embedded::Embedded;
use crate::support::index::wheel;
use crate::support::noise;
use crate::support::registry::DebianRegistry;

/// How much no compressor makes less of, in the big wheel: several pieces on the way.
const NOISE: usize = 5 << 20;

/// A home with a recipe of a big wheel, a small one, and a file.
fn home() -> Dlpack {
    let dlpack = Dlpack::new();
    let (text, noise) = ("line of text\n".repeat(10_000), noise(NOISE));
    let big = wheel("big", &[("big/noise.bin", &noise), ("big/text.py", text.as_bytes())]);
    fs::write(dlpack.work().join("big-1.0-py3-none-any.whl"), big).unwrap();
    let small = wheel("small", &[("small.py", b"SMALL = 1\n")]);
    fs::write(dlpack.work().join("small-1.0-py3-none-any.whl"), small).unwrap();
    dlpack.write(
        "dlpack.toml",
        "base = \"scratch\"\n[[layer]]\nkind = \"files\"\nfiles = [{ content = \"Welcome.\\n\", to = \"/etc/motd\" }]\n\
         [[layer]]\nkind = \"venv\"\npython = \"3.11\"\ninterpreter = \"/usr/bin/python3.11\"\n\
         wheels = [\"big-1.0-py3-none-any.whl\", \"small-1.0-py3-none-any.whl\"]\n",
    );
    dlpack.ok(["lock"]);
    dlpack
}

/// How many bytes came in each PATCH.
fn patches(registry: &Embedded) -> Vec<u64> {
    registry.requests("PATCH", "").into_iter().map(|request| request.received).collect()
}

/// The image that a build of the same recipe makes, and the home that it was made in.
fn built(dlpack: &Dlpack) -> (Dlpack, String) {
    let other = Dlpack::new();
    for file in fs::read_dir(dlpack.work()).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), other.work().join(file.file_name())).unwrap();
    }
    let digest = other.ok(["build"]);
    (other, digest)
}

fn digest(pushed: &Value) -> &str {
    pushed["digest"].as_str().unwrap()
}

/// How many of the layers of `digest` the store has.
fn kept(dlpack: &Dlpack, digest: &str) -> usize {
    dlpack.layers_of(digest).iter().filter(|layer| dlpack.blob(layer).exists()).count()
}

#[test]
fn a_push_leaves_no_layer_in_the_store_and_the_image_is_that_of_a_build() {
    let (dlpack, registry) = (home(), Embedded::start());
    let pushed = dlpack.json(["push", &registry.reference("team/env:1")]);
    let (other, built) = built(&dlpack);
    assert_eq!(digest(&pushed), built);
    assert_eq!((&pushed["built"], &pushed["uploaded"], kept(&dlpack, &built)), (&json!(4), &json!(5), 0));
    for layer in other.layers_of(&built) {
        assert_eq!(fs::read(registry.blob(&layer)).unwrap(), fs::read(other.blob(&layer)).unwrap());
    }
    assert_eq!((patches(&registry).len(), dlpack.leftovers()), (1, 0), "the big one alone is a stream");
    registry.server.clear_requests();
    let again = dlpack.json(["push", &registry.reference("team/env:1")]);
    assert_eq!((&again["digest"], &again["built"], &again["present"]), (&pushed["digest"], &json!(0), &json!(5)));
    let sent: u64 =
        registry.server.requests().iter().filter(|it| it.target.contains("/blobs/")).map(|it| it.received).sum();
    assert_eq!(sent, 0, "its records say where it is");
    dlpack.ok(["cache", "verify"]);
}

#[test]
fn a_layer_that_an_image_has_twice_is_sent_once_and_its_manifest_after_all() {
    let (dlpack, registry) = (Dlpack::new(), Embedded::start());
    fs::write(dlpack.work().join("noise"), noise(NOISE)).unwrap();
    let layer = |name: &str| {
        format!("[[layer]]\nkind = \"files\"\nname = \"{name}\"\nfiles = [{{ from = \"noise\", to = \"/noise\" }}]\n")
    };
    dlpack.write("dlpack.toml", &format!("base = \"scratch\"\n{}{}", layer("one"), layer("two")));
    let built = dlpack.ok(["build"]);
    let layers = dlpack.layers_of(&built);
    assert_eq!(layers[0], layers[1]);
    // Whoever asks second must not go on while the first has to try again.
    let fault = Fault::on("POST", "/blobs/uploads/", What::Answer(503, vec![], vec![])).times(2);
    registry.server.set_faults(vec![fault]);
    let pushed = dlpack.json(["push", "--no-cache", &registry.reference("team/env:1")]);
    assert_eq!((digest(&pushed), &pushed["uploaded"]), (built.as_str(), &json!(2)), "layer and config");
    let requests = registry.server.requests();
    let puts: Vec<&str> = requests
        .iter()
        .filter(|it| it.method == "PUT" && it.status == Some(201))
        .map(|it| it.target.as_str())
        .collect();
    let of_layer = puts.iter().filter(|target| target.contains(layers[0].trim_start_matches("sha256:"))).count();
    assert!(of_layer == 1 && puts.len() == 3 && puts[2].ends_with("/manifests/1"), "{puts:#?}");
}

#[test]
fn whoever_wants_to_keep_layers_has_them() {
    let (dlpack, registry) = (home(), Embedded::start());
    let pushed = dlpack.json(["push", "--keep-blobs", &registry.reference("team/env:1")]);
    assert_eq!((kept(&dlpack, digest(&pushed)), patches(&registry).len()), (4, 1));
    assert_eq!(dlpack.json(["build"])["built"], 0);
    dlpack.ok(["cache", "verify"]);
}

#[test]
fn a_layer_that_was_sent_to_another_registry_is_made_again_and_goes_in_one_piece() {
    let (dlpack, first) = (home(), Embedded::start());
    let (first, registry) = (dlpack.json(["push", &first.reference("team/env:1")]), Embedded::start());
    let plan = dlpack.ok(["plan", &registry.reference("team/env:1")]);
    assert_eq!(plan.matches("to be made again").count(), 4, "{plan}");
    let second = dlpack.json(["push", &registry.reference("team/env:1")]);
    assert_eq!((&second["digest"], &second["uploaded"]), (&first["digest"], &json!(5)));
    assert_eq!((kept(&dlpack, digest(&first)), patches(&registry)), (0, vec![]), "its length is known");
    assert_eq!(dlpack.json(["build"])["built"], 4, "a build wants them here");
    assert_eq!(dlpack.ok(["build"]), digest(&first));
}

#[test]
fn jobs_bound_what_is_made_on_its_way_as_what_is_made_for_the_store() {
    let dlpack = home();
    // as new layers, and as such that are known and made again for another registry
    for registry in [Embedded::start(), Embedded::start()] {
        let ran = dlpack.run(["push", "--json", "--jobs", "1", &registry.reference("team/env:1")]);
        assert_eq!(ran.status, 0, "{ran:?}");
        let (mut under_way, mut begun) = (BTreeSet::new(), 0);
        for event in ran.stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            let id = event["id"].as_u64();
            if event["event"] == "begin" && event["activity"] == "push" {
                under_way.insert(id);
                begun += 1;
                assert_eq!(under_way.len(), 1, "{}", ran.stderr);
            } else if event["event"] == "end" {
                under_way.remove(&id);
            }
        }
        assert_eq!(begun, 5, "{}", ran.stderr);
    }
}

#[test]
fn a_second_repository_of_a_registry_mounts_what_the_first_one_has() {
    for mount in [true, false] {
        let features = Features { mount, ..Features::default() };
        let (dlpack, registry) = (home(), Embedded::with(Options { features, ..Options::default() }));
        let pushed = dlpack.json(["push", &registry.reference("team/env:1")]);
        let plan = dlpack.ok(["plan", &registry.reference("team/other:1")]);
        assert_eq!(plan.matches("in 127.0.0.1").count(), 4, "{plan}");
        assert!(plan.contains("0 B to fetch, at most 0 B to send"), "{plan}");
        if mount {
            fs::remove_dir_all(dlpack.store().join("downloads")).unwrap();
        }
        let again = dlpack.json(["push", &registry.reference("team/other:1")]);
        let (mounted, uploaded) = if mount { (5, 0) } else { (0, 5) };
        assert_eq!((&again["digest"], &again["built"]), (&pushed["digest"], &json!(0)));
        assert_eq!((&again["mounted"], &again["uploaded"]), (&json!(mounted), &json!(uploaded)), "{again}");
        assert_eq!(kept(&dlpack, digest(&pushed)), 0);
    }
}

#[test]
fn what_the_store_has_is_mounted_all_the_same_where_it_was_pushed_before() {
    let (dlpack, registry) = (home(), DebianRegistry::start());
    let first = dlpack.json(["push", "--keep-blobs", &registry.reference("team/env:1")]);
    let second = dlpack.json(["push", &registry.reference("team/other:1")]);
    assert_eq!((&second["digest"], &second["mounted"], &second["bytes"]), (&first["digest"], &json!(5), &json!(0)));
}

#[test]
fn a_stream_that_breaks_goes_on_where_the_registry_stands() {
    let (dlpack, registry) = (home(), Embedded::start());
    let honest = built(&dlpack).1;
    let faults = [What::BreakRequest(1_500_000), What::BreakRequest(1_000_000)];
    registry.server.set_faults(faults.map(|what| Fault::on("PATCH", "", what)).into());
    let pushed = dlpack.json(["push", &registry.reference("team/env:1")]);
    assert_eq!((digest(&pushed), kept(&dlpack, &honest)), (honest.as_str(), 0));
    let layers = dlpack.stored(&honest)["layers"].clone();
    let big = layers.as_array().unwrap().iter().filter_map(|layer| layer["size"].as_u64()).max().unwrap();
    let patches = patches(&registry);
    assert_eq!((patches.len(), patches[2]), (3, big - 2_500_000), "what had arrived was not sent again: {patches:?}");
}

#[test]
fn a_session_that_is_forgotten_and_answers_that_are_lost_end_with_the_same_image() {
    let (dlpack, registry) = (home(), Embedded::start());
    let honest = built(&dlpack).1;
    let cases: [(&str, Vec<Fault>); 4] = [
        (
            "forgotten",
            vec![
                Fault::on("PATCH", "", What::BreakRequest(2_000_000)),
                Fault::on("GET", "uploads", What::ForgetSession),
            ],
        ),
        ("no answer to the bytes", vec![Fault::on("PATCH", "", What::LoseAnswer)]),
        ("no answer to the end", vec![Fault::on("PUT", "digest=", What::LoseAnswer)]),
        ("an end that fails", vec![Fault::on("PUT", "digest=", What::Answer(500, vec![], vec![]))]),
    ];
    for (n, (case, faults)) in cases.into_iter().enumerate() {
        fs::remove_dir_all(dlpack.store()).unwrap();
        registry.server.set_faults(faults);
        let pushed = dlpack.json(["push", &registry.reference(&format!("team/case{n}:1"))]);
        assert_eq!((digest(&pushed), kept(&dlpack, &honest)), (honest.as_str(), 0), "{case}");
    }
}

#[test]
fn where_a_stream_is_refused_layers_go_through_the_store() {
    let features = Features { chunked: false, ..Features::default() };
    let (dlpack, registry) = (home(), Embedded::with(Options { features, ..Options::default() }));
    let pushed = dlpack.json(["push", &registry.reference("team/env:1")]);
    assert_eq!(digest(&pushed), built(&dlpack).1);
    assert!(kept(&dlpack, digest(&pushed)) >= 1, "the big one");
    assert!(!patches(&registry).is_empty(), "it was asked");
}

#[test]
fn a_wheel_that_is_damaged_in_the_store_is_fetched_again() {
    let (dlpack, registry) = (home(), Embedded::start());
    let honest = built(&dlpack).1;
    // what RECORD and CRC-32 vouch for, and what the hash alone does
    let places: [fn(&[u8]) -> usize; 3] = [|_| 100_000, |_| NOISE - 1, mode_in];
    for (n, place) in places.into_iter().enumerate() {
        dlpack.ok(["push", &registry.reference(&format!("team/env{n}:1"))]);
        let downloads = fs::read_dir(dlpack.store().join("downloads/sha256")).unwrap().map(|file| file.unwrap().path());
        let big = downloads.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
        let mut bytes = fs::read(&big).unwrap();
        let at = place(&bytes);
        bytes[at] ^= 0x40;
        fs::write(&big, bytes).unwrap();
        // as a new layer, and as one that is known and no repository of the registry has
        let other = Embedded::start();
        if n != 1 {
            fs::remove_dir_all(dlpack.store().join("keys")).unwrap();
        }
        let pushed = dlpack.json(["push", &other.reference("team/mended:1")]);
        assert_eq!((digest(&pushed), kept(&dlpack, &honest)), (honest.as_str(), 0));
    }
    dlpack.ok(["cache", "verify"]);
}

/// Where a zip says whether its owner can execute its first file.
fn mode_in(zip: &[u8]) -> usize {
    // APPNOTE 4.3.12: "external file attributes", of which the upper half is a mode
    zip.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap() + 40
}

#[test]
fn a_push_that_is_killed_leaves_nothing_and_the_next_ends_well() {
    let (dlpack, registry) = (home(), Embedded::start());
    let honest = built(&dlpack).1;
    for lines in 1..=8 {
        let name = registry.reference(&format!("team/env{lines}:1"));
        let _ = fs::remove_dir_all(dlpack.store().join("keys"));
        let mut push = dlpack.command(["push", "-v", "--jobs", "1", &name]);
        let mut child = push.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let told = BufReader::new(child.stderr.take().unwrap()).lines().take(lines).count();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(dlpack.ok(["push", &name]), honest, "after {told} lines");
        assert_eq!((dlpack.leftovers(), kept(&dlpack, &honest)), (0, 0), "after {told} lines");
        dlpack.ok(["cache", "verify"]);
    }
}

#[test]
fn debians_registry_takes_a_layer_while_it_is_made() {
    let (dlpack, registry) = (home(), DebianRegistry::start());
    let pushed = dlpack.json(["push", &registry.reference("team/env:1")]);
    let (other, honest) = built(&dlpack);
    assert_eq!((digest(&pushed), kept(&dlpack, &honest)), (honest.as_str(), 0));
    for layer in other.layers_of(&honest) {
        assert_eq!(fs::read(registry.blob_file(&layer)).unwrap(), fs::read(other.blob(&layer)).unwrap());
    }
    let requests = registry.requests();
    assert_eq!(requests.iter().filter(|request| request.method == "PATCH").count(), 1);
    assert_eq!(dlpack.json(["push", &registry.reference("team/env:2")])["present"], 5);
}

#[test]
fn layers_whose_wheels_are_kept_as_well_are_shown_and_go_first() {
    let dlpack = home();
    let digest = dlpack.ok(["build"]);
    let listed = dlpack.json(["cache", "list"]);
    let entries = listed["entries"].as_array().unwrap();
    let twice: Vec<&Value> = entries.iter().filter(|entry| entry["twice"] == true).collect();
    let layers = dlpack.layers_of(&digest);
    assert_eq!(twice.len(), 2, "of the file and the skeleton nothing else is here: {listed}");
    assert!(twice.iter().all(|entry| layers.iter().any(|layer| entry["digest"] == *layer)));
    assert_eq!(dlpack.ok(["cache", "list"]).matches("blob, kept twice").count(), 2);

    let size = |entry: &&Value| entry["size"].as_u64().unwrap();
    let (all, both): (u64, u64) = (entries.iter().map(|entry| size(&entry)).sum(), twice.iter().map(size).sum());
    let collected = dlpack.json(["cache", "gc", "--max-size", &(all - both).to_string()]);
    assert_eq!((&collected["removed"], &collected["freed"]), (&json!(2), &json!(both)));
    assert_eq!(dlpack.json(["build"])["built"], 2, "and are made again");
    assert_eq!(dlpack.ok(["build"]), digest);
}

/// A layer of so many bytes, which may turn out otherwise.
struct Noise {
    length: usize,
    /// What each time it is made has in place of its last byte.
    ends: &'static [u8],
    /// At which byte it fails.
    fails: Option<usize>,
    times: AtomicUsize,
}

impl Noise {
    fn of(length: usize) -> Arc<Self> {
        Arc::new(Self { length, ends: &[0], fails: None, times: AtomicUsize::new(0) })
    }

    fn bytes(&self, time: usize) -> Vec<u8> {
        let mut bytes = noise(NOISE);
        bytes.resize(self.length, 7);
        bytes[self.length - 1] = self.ends[time % self.ends.len()];
        bytes
    }
}

impl Maker for Noise {
    type Made = Layer;
    type Error = assemble::Error;

    fn make(&self, mut out: Outlet) -> Result<Layer, assemble::Error> {
        let bytes = self.bytes(self.times.fetch_add(1, Ordering::Relaxed));
        let failed = |source| layer::Error::Io { path: "noise".into(), source };
        let whole = self.fails.unwrap_or(self.length);
        bytes[..whole]
            .chunks(100_000)
            .try_for_each(|part| out.write_all(part))
            .and_then(|()| out.flush())
            .map_err(failed)?;
        if self.fails.is_some() {
            return Err(failed(std::io::ErrorKind::InvalidData.into()).into());
        }
        let descriptor = Descriptor::of(media_type::LAYER_GZIP, &bytes);
        Ok(Layer { diff_id: DiffId(descriptor.digest), unpacked: descriptor.size, descriptor })
    }
}

/// Pushes what `maker` makes to `team/layers`, without waiting for anything.
fn push(registry: &Embedded, maker: &Arc<Noise>) -> Result<Option<(Layer, Pushed)>, assemble::Error> {
    push_with(registry, maker, Settings::default())
}

fn push_with(
    registry: &Embedded,
    maker: &Arc<Noise>,
    settings: Settings,
) -> Result<Option<(Layer, Pushed)>, assemble::Error> {
    let retry = settings.retry.clone().with_pause(|_| Box::pin(std::future::ready(())));
    let registries = Registries::new(Settings { retry, ..settings }).unwrap();
    let repository = registries.repository(&registry.reference("team/layers:1").parse().unwrap()).unwrap();
    let told = AtomicUsize::new(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tell = |moved: Transfer| {
        let (Transfer::Sent(bytes) | Transfer::Kept(bytes)) = moved;
        told.fetch_add(bytes as usize, Ordering::Relaxed);
    };
    let pushed = runtime.block_on(repository.push_made(maker, "noise", &tell))?;
    if let Some((layer, _)) = &pushed {
        assert_eq!(told.into_inner() as u64, layer.descriptor.size, "progress comes to the whole");
        let arrived = fs::read(registry.blob(&layer.descriptor.digest.to_string())).unwrap();
        assert_eq!(Descriptor::of(media_type::LAYER_GZIP, &arrived), layer.descriptor);
    }
    Ok(pushed)
}

#[test]
fn every_fault_that_passes_ends_with_the_blob_at_the_registry() {
    let answer = |status| What::Answer(status, vec![], vec![]);
    let cases: [(&str, Vec<Fault>); 11] = [
        ("no session at first", vec![Fault::on("POST", "", answer(503)).times(2)]),
        ("broken before the first byte", vec![Fault::on("PATCH", "", What::BreakRequest(0))]),
        ("broken at the last byte", vec![Fault::on("PATCH", "", What::BreakRequest(NOISE as u64))]),
        ("broken nine times", vec![Fault::on("PATCH", "", What::BreakRequest(300_000)).times(9)]),
        (
            "refused in the middle",
            vec![Fault::on("PATCH", "", What::BreakRequest(2_000_000)), Fault::on("PATCH", "", answer(429))],
        ),
        ("carried out, and denied", vec![Fault::on("PATCH", "", What::LieAnswer(500))]),
        ("out of order", vec![Fault::on("PATCH", "", answer(416))]),
        ("forgotten at once", vec![Fault::on("PATCH", "", What::ForgetSession)]),
        ("forgotten at the end", vec![Fault::on("PUT", "", What::ForgetSession)]),
        (
            "not believed",
            vec![Fault::on("PATCH", "", What::BreakRequest(2_000_000)), Fault::on("PUT", "", answer(400))],
        ),
        ("not there", vec![Fault::on("HEAD", "blobs", answer(404))]),
    ];
    for (case, faults) in cases {
        let registry = Embedded::start();
        registry.server.set_faults(faults);
        let pushed = push(&registry, &Noise::of(NOISE)).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert!(pushed.is_some(), "{case}");
    }
}

#[test]
fn the_next_process_goes_on_where_the_registry_stands() {
    let (registry, directory) = (Embedded::start(), tempfile::tempdir().unwrap());
    let journal = Store::open(&directory.path().join("store")).unwrap();
    let mut once = Retry::default();
    once.attempts = 1;
    let settings = || Settings { journal: Some(journal.clone()), chunk: Some(1 << 20), ..Settings::default() };
    registry.server.set_faults(vec![Fault::on("PATCH", "", What::BreakRequest(500_000)).after(3)]);
    push_with(&registry, &Noise::of(NOISE), Settings { retry: once, ..settings() }).unwrap_err();
    registry.server.clear_requests();
    let (_, pushed) = push_with(&registry, &Noise::of(NOISE), settings()).unwrap().unwrap();
    let (stood, rest) = (3 * (1 << 20) + 500_000, NOISE as u64 - 3 * (1 << 20) - 500_000);
    assert_eq!(pushed, Pushed::Uploaded { bytes: rest, resumed: stood });
    assert_eq!(patches(&registry).iter().sum::<u64>(), rest);
    assert!(fs::read_dir(directory.path().join("store/uploads")).unwrap().next().is_none(), "it is noted no more");
}

#[test]
fn a_registry_that_limits_a_request_gets_shorter_parts() {
    let registry = Embedded::start();
    registry.server.set_faults(vec![Fault::on("PATCH", "", What::Answer(413, vec![], vec![]))]);
    let settings = Settings { chunk: Some(2 << 20), ..Settings::default() };
    assert!(push_with(&registry, &Noise::of(NOISE), settings).unwrap().is_some());
    assert!(patches(&registry)[1..].iter().all(|part| *part <= 1 << 20), "{:?}", patches(&registry));
}

#[test]
fn a_blob_that_is_made_otherwise_the_second_time_is_begun_anew() {
    let registry = Embedded::start();
    registry.server.set_faults(vec![Fault::on("PATCH", "", What::BreakRequest(NOISE as u64)).times(1)]);
    let maker = Arc::new(Noise { ends: &[1, 2, 2], ..Arc::into_inner(Noise::of(NOISE)).unwrap() });
    let (layer, _) = push(&registry, &maker).unwrap().unwrap();
    assert_eq!(layer.descriptor.digest, Digest::of(&maker.bytes(1)));
}

#[test]
fn a_maker_that_fails_is_heard_and_nothing_is_taken_for_whole() {
    for fails in [0, 10, 1 << 20, NOISE - 1] {
        let registry = Embedded::start();
        let maker = Arc::new(Noise { fails: Some(fails), ..Arc::into_inner(Noise::of(NOISE)).unwrap() });
        let error = push(&registry, &maker).unwrap_err();
        assert!(matches!(error, assemble::Error::Write(layer::Error::Io { .. })), "{error}");
        assert_eq!(maker.times.load(Ordering::Relaxed), 1, "it is not asked again");
        let closed = registry.server.requests().iter().any(|request| request.method == "PUT");
        assert!(!closed, "no end is announced");
    }
}

#[test]
fn a_registry_that_takes_no_stream_says_so_once_and_nothing_is_there() {
    for status in [400, 405, 411, 415, 501] {
        let registry = Embedded::start();
        registry.server.set_faults(vec![Fault::on("PATCH", "", What::Answer(status, vec![], vec![])).always()]);
        assert!(push(&registry, &Noise::of(NOISE)).unwrap().is_none(), "{status}");
        assert!(push(&registry, &Noise::of(1000)).unwrap().is_some(), "what is small has its length");
    }
}
