//! Wheelhouses: layers of wheels that somebody published are taken from there, and nobody
//! else needs the wheels.

use std::fs;

use dlpack::registry::serve::{Auth, Fault, Features, Options, What};
use serde_json::{Value, json};

use crate::support::command::Dlpack;
use crate::support::embedded::Embedded;
use crate::support::index::{Manner, SimpleIndex, wheel};
use crate::support::noise;
use crate::support::registry::DebianRegistry;

/// How many bytes the big wheel has that no compressor makes less of.
const NOISE: usize = 3 << 20;
/// RFC 8410 section 10, and its public half.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                   -----END PRIVATE KEY-----\n";
const PUBLIC: &str = "ed25519:Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";

/// What was asked of `registry` since this was last called: `METHOD path`, and how many bytes came with it.
fn requests(registry: &Embedded) -> Vec<(String, u64)> {
    let asked = registry.server.requests().into_iter();
    let asked = asked.map(|it| (format!("{} {}", it.method, it.target), it.received)).collect();
    registry.server.clear_requests();
    asked
}

/// Whoever publishes: with wheels at hand, and a greeting in the recipe that is nobody else's business.
struct Publisher {
    index: SimpleIndex,
    home: Dlpack,
}

impl Publisher {
    fn new() -> Self {
        let (big, small) = (wheel("big", &[("big/noise.bin", &noise(NOISE))]), wheel("small", &[("s.py", b"S = 1\n")]));
        let files: [(&str, &[u8]); 2] = [("big-1.0-py3-none-any.whl", &big), ("small-1.0-py3-none-any.whl", &small)];
        let publisher = Self { index: SimpleIndex::start(Manner::Html, &files), home: Dlpack::new() };
        publisher.write_recipe(&publisher.home, "dlpack.toml", "", "Ours.");
        publisher.home.ok(["lock"]);
        publisher
    }

    fn write_recipe(&self, dlpack: &Dlpack, name: &str, top: &str, greeting: &str) {
        dlpack.write(
            name,
            &format!(
                "base = \"scratch\"\n{top}[[layer]]\nkind = \"files\"\n\
                 files = [{{ content = \"{greeting}\\n\", to = \"/etc/motd\" }}]\n\
                 [[layer]]\nkind = \"venv\"\npython = \"3.11\"\ninterpreter = \"/usr/bin/python3.11\"\n\
                 requirements = [\"big\", \"small\"]\nindex-url = \"{}\"\n",
                self.index.url()
            ),
        );
    }

    /// Somebody with an empty disk and another recipe of the same wheels, and the digest of
    /// the image that a build with these makes.
    fn somebody(&self, top: &str) -> (Dlpack, String) {
        let (made, somebody) = (Dlpack::new(), Dlpack::new());
        self.write_recipe(&made, "dlpack.toml", top, "Theirs.");
        let digest = made.ok(["build", "--no-cache"]);
        for file in ["dlpack.toml", "dlpack.lock"] {
            fs::copy(made.work().join(file), somebody.work().join(file)).unwrap();
        }
        (somebody, digest)
    }
}

fn sums(pushed: &Value) -> [u64; 4] {
    ["built", "present", "mounted", "uploaded"].map(|name| pushed[name].as_u64().unwrap())
}

/// How many wheels are in the store, and how many layers of `digest`.
fn kept(dlpack: &Dlpack, digest: &str) -> (usize, usize) {
    let wheels = fs::read_dir(dlpack.store().join("downloads/sha256")).map_or(0, Iterator::count);
    (wheels, dlpack.layers_of(digest).iter().filter(|layer| dlpack.blob(layer).exists()).count())
}

#[test]
fn who_never_built_the_image_pushes_it_by_moving_kilobytes() {
    let registry = Embedded::start();
    let (publisher, wheels) = (Publisher::new(), registry.reference("shared/wheels"));
    let published = publisher.home.json(["wheelhouse", "push", &wheels]);
    assert_eq!((sums(&published[0]), &published[0]["records"]), ([3, 0, 0, 3], &json!(3)), "{published}");
    let asked = requests(&registry);
    let manifests: Vec<&str> =
        asked.iter().filter_map(|(it, _)| it.strip_prefix("PUT /v2/shared/wheels/manifests/")).collect();
    assert!(manifests.len() == 4 && manifests.iter().all(|tag| tag.starts_with("dlpack-")), "no image: {manifests:?}");

    let (somebody, honest) = publisher.somebody("");
    let target = registry.reference("team/env:1");
    let plan = somebody.ok(["plan", &target, "--wheelhouse", &wheels]);
    assert!(plan.matches("/shared/wheels").count() == 3 && plan.contains("0 B to fetch"), "{plan}");
    requests(&registry);
    let pushed = somebody.json(["push", &target, "--wheelhouse", &wheels]);
    assert_eq!((pushed["digest"].as_str(), sums(&pushed)), (Some(honest.as_str()), [1, 0, 3, 2]), "{pushed}");
    assert_eq!(kept(&somebody, &honest), (0, 0));
    let asked = requests(&registry);
    let received: u64 = asked.iter().map(|(_, received)| received).sum();
    assert!(received < 20_000, "{received} bytes of {NOISE}: {asked:#?}");
    assert!(
        !asked
            .iter()
            .any(|(it, _)| it.contains("/shared/wheels/") && !it.starts_with("HEAD") && !it.starts_with("GET"))
    );
}

#[test]
fn what_is_in_the_wheelhouse_costs_a_question_whatever_recipe_it_is_of() {
    let registry = Embedded::start();
    let (publisher, wheels) = (Publisher::new(), registry.reference("shared/wheels"));
    publisher.write_recipe(&publisher.home, "other.toml", "", "Others'.");
    publisher.home.ok(["lock", "-r", "other.toml"]);
    let both = publisher.home.json(["wheelhouse", "push", &wheels, "-r", "dlpack.toml", "other.toml"]);
    assert_eq!((sums(&both[0]), sums(&both[1])), ([3, 0, 0, 3], [0, 3, 0, 0]), "{both}");
    requests(&registry);
    let again = publisher.home.json(["wheelhouse", "push", &wheels, "-r", "dlpack.toml", "-r", "other.toml"]);
    assert_eq!((sums(&again[0]), sums(&again[1])), ([0, 3, 0, 0], [0, 3, 0, 0]), "{again}");
    let asked = requests(&registry);
    assert!(
        !asked.iter().any(|(it, _)| ["POST", "PATCH", "PUT"].iter().any(|verb| it.starts_with(verb))),
        "{asked:#?}"
    );
    assert_eq!(asked.iter().filter(|(it, _)| it.starts_with("HEAD")).count(), 6, "{asked:#?}");
}

#[test]
fn from_another_registry_layers_stream_across_and_no_wheel_is_fetched() {
    let (here, there) = (Embedded::start(), DebianRegistry::start());
    let (publisher, wheels) = (Publisher::new(), there.reference("shared/wheels"));
    publisher.home.ok(["wheelhouse", "push", &wheels]);
    let (somebody, honest) = publisher.somebody(&format!("wheelhouses = [\"{wheels}\"]\n"));
    there.forget_requests();
    let pushed = somebody.json(["push", &here.reference("team/env:1")]);
    assert_eq!((pushed["digest"].as_str(), sums(&pushed)), (Some(honest.as_str()), [1, 0, 0, 5]), "{pushed}");
    assert_eq!((there.blob_reads().len(), kept(&somebody, &honest)), (3, (0, 0)), "each once, none to this disk");
    assert!(somebody.layers_of(&honest).iter().all(|layer| here.blob(layer).is_file()));
    let built = somebody.json(["build"]);
    assert_eq!((built["digest"].as_str(), kept(&somebody, &honest)), (Some(honest.as_str()), (0, 4)), "{built}");
}

#[test]
fn who_keeps_blobs_has_those_that_came_across() {
    let (here, there) = (Embedded::start(), Embedded::start());
    let (publisher, wheels) = (Publisher::new(), there.reference("shared/wheels"));
    publisher.home.ok(["wheelhouse", "push", &wheels]);
    let (somebody, honest) = publisher.somebody("");
    let pushed = somebody.json(["push", &here.reference("team/env:1"), "--wheelhouse", &wheels, "--keep-blobs"]);
    assert_eq!((pushed["digest"].as_str(), sums(&pushed)), (Some(honest.as_str()), [1, 0, 0, 5]), "{pushed}");
    assert_eq!(kept(&somebody, &honest), (0, 4));
    assert!(somebody.ok(["cache", "verify"]).contains(" 0 damaged"));
}

#[test]
fn a_layer_that_a_wheelhouse_spoils_on_the_way_is_made_here() {
    let (here, there) = (Embedded::start(), Embedded::start());
    let (publisher, wheels) = (Publisher::new(), there.reference("shared/wheels"));
    publisher.home.ok(["wheelhouse", "push", &wheels]);
    for (n, fault) in [What::Flip(1000), What::Answer(404, vec![], vec![])].into_iter().enumerate() {
        let (somebody, honest) = publisher.somebody("");
        there.server.set_faults(vec![Fault::on("GET", "/blobs/", fault).always()]);
        let target = here.reference(&format!("team/env{n}:1"));
        let ran = somebody.run(["push", &target, "--wheelhouse", &wheels]);
        assert_eq!((ran.status, ran.stdout.trim()), (0, honest.as_str()), "{}", ran.stderr);
        assert!(ran.stderr.contains("/shared/wheels is not used: "), "{}", ran.stderr);
        assert_eq!(ran.stderr.matches("/shared/wheels is its writers' word").count(), 1, "{}", ran.stderr);
    }
}

#[test]
fn where_a_mount_is_declined_the_layers_pass_through() {
    let features = Features { mount: false, referrers: false, ..Features::default() };
    let registry = Embedded::with(Options { features, ..Options::default() });
    let (publisher, wheels) = (Publisher::new(), registry.reference("shared/wheels"));
    publisher.home.ok(["wheelhouse", "push", &wheels]);
    let (somebody, honest) = publisher.somebody("");
    let mut push = somebody.command(["push", &registry.reference("team/env:1"), "--json"]);
    let ran = push.env("DLPACK_WHEELHOUSE", &wheels).output().unwrap();
    let pushed: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((pushed["digest"].as_str(), sums(&pushed)), (Some(honest.as_str()), [1, 0, 0, 5]), "{pushed}");
    assert_eq!(kept(&somebody, &honest), (0, 0));
}

#[test]
fn where_a_key_is_pinned_a_wheelhouse_is_signed_with_it() {
    let registry = Embedded::start();
    let (publisher, wheels) = (Publisher::new(), registry.reference("shared/wheels"));
    publisher.home.ok(["wheelhouse", "push", &wheels]);
    let (somebody, honest) = publisher.somebody(&format!("cache-keys = [{PUBLIC:?}]\nwheelhouses = [{wheels:?}]\n"));
    let ran = somebody.run(["plan", &registry.reference("team/env:1")]);
    assert!(ran.stdout.contains("4 layers to build"), "{}", ran.stdout);
    assert_eq!(ran.stderr.matches("records of 3 layers that no key").count(), 1, "{}", ran.stderr);

    somebody.write("key.pem", KEY);
    let refused = somebody.refuses(2, ["wheelhouse", "push", &wheels]);
    assert!(refused.contains("--sign-key"), "{refused}");
    publisher.home.write("key.pem", KEY);
    publisher.home.ok(["wheelhouse", "push", &wheels, "--sign-key", "key.pem"]);
    let ran = somebody.run(["push", &registry.reference("team/env:1"), "--json"]);
    let pushed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((pushed["digest"].as_str(), sums(&pushed)), (Some(honest.as_str()), [1, 0, 3, 2]), "{pushed}");
    assert!(!ran.stderr.contains("\"warning\""), "a signed one needs no word: {}", ran.stderr);
}

#[test]
fn a_key_that_a_recipe_pins_holds_for_the_wheelhouses_of_what_it_extends() {
    let registry = Embedded::start();
    let (publisher, wheels) = (Publisher::new(), registry.reference("shared/wheels"));
    publisher.home.ok(["wheelhouse", "push", &wheels]);
    let (somebody, target) = (Dlpack::new(), registry.reference("team/env:1"));
    publisher.write_recipe(&somebody, "theirs.toml", &format!("wheelhouses = [{wheels:?}]\n"), "Theirs.");
    let plan = |keys: &str| {
        somebody.write("dlpack.toml", &format!("extends = \"./theirs.toml\"\n{keys}"));
        somebody.ok(["lock"]);
        let planned = somebody.run(["plan", &target]);
        (planned.stdout.contains("1 layer to build"), planned.stderr)
    };
    let (found, said) = plan("");
    assert!(found && said.matches(&format!("wheelhouse {wheels} is its writers' word")).count() == 1, "{said}");
    let (found, said) = plan(&format!("cache-keys = [{PUBLIC:?}]\n"));
    assert!(!found && said.contains("records of 3 layers that no key"), "{said}");
    requests(&registry);
    assert_eq!(plan("wheelhouses = []\n"), (false, String::new()));
    assert!(
        requests(&registry).iter().all(|(it, _)| !it.contains("shared/wheels")),
        "whom one names, nobody else asks"
    );
}

#[test]
fn what_is_published_where_nobody_finds_it_is_a_failure() {
    let registry = Embedded::start();
    let (publisher, wheels) = (Publisher::new(), registry.reference("shared/wheels"));
    let answer = What::Answer(422, Vec::new(), Vec::new());
    registry.server.set_faults(vec![Fault::on("GET", "/referrers/", answer).always()]);
    let ran = publisher.home.run(["wheelhouse", "push", &wheels]);
    assert!(ran.status > 0 && ran.stderr.contains(&format!("the records in {wheels} can't be listed")), "{ran:?}");
    registry.server.set_faults(Vec::new());
    assert_eq!(publisher.home.json(["wheelhouse", "push", &wheels])[0]["records"], 3);
}

#[test]
fn a_wheelhouse_that_cannot_be_read_is_said_once_and_done_without() {
    let registry = Embedded::start();
    let auth = Some(Auth::Basic { user: "me".into(), password: "secret".into() });
    let locked = Embedded::with(Options { auth, ..Options::default() });
    let publisher = Publisher::new();
    let push = ["push", &registry.reference("team/env:1"), "--wheelhouse", &locked.reference("shared/wheels")];
    let ran = publisher.home.run(push);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let said = format!("the wheelhouse {} can't be read, and is done without", locked.reference("shared/wheels"));
    assert_eq!(ran.stderr.matches(&said).count(), 1, "{}", ran.stderr);
    assert_eq!(ran.stdout.trim(), publisher.home.ok(["build"]));
}
