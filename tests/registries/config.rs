//! `registries.conf`: mirrors, locations, prefixes, plain http.

use std::fs;

use dlpack::registry::{Config, Environment, Error, Place, Places, Reference, Settings};
use tempfile::TempDir;

use super::{Embedded, Watched, blob, block_on, pulled};
use dlpack::registry::BlobOrigin;

fn config(text: &str) -> Config {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("registries.conf");
    fs::write(&path, text).unwrap();
    let mut config = Config::default();
    config.read(&path).unwrap();
    config
}

fn places(config: &Config, reference: &str) -> Places {
    config.places(&reference.parse::<Reference>().unwrap()).unwrap()
}

fn secure(host: &str, name: &str) -> Place {
    Place { host: host.to_owned(), name: name.to_owned(), insecure: false, mirror: false }
}

#[test]
fn without_configuration_a_short_name_is_docker_hubs_and_loopback_is_insecure() {
    let config = Config::default();
    assert_eq!(places(&config, "ubuntu:22.04").push, secure("docker.io", "library/ubuntu"));
    assert_eq!(places(&config, "someone/image").pull, [secure("docker.io", "someone/image")]);
    assert!(places(&config, "localhost:5000/image").push.insecure);
    assert!(places(&config, "127.0.0.1:5000/image").push.insecure);
    assert!(!places(&config, "registry.example:5000/image").push.insecure);
}

#[test]
fn mirrors_come_before_the_location_for_pulling_and_never_for_pushing() {
    let config = config(
        r#"
        unqualified-search-registries = ["elsewhere.example"]
        [[registry]]
        prefix = "docker.io"
        location = "registry-1.docker.io"
        [[registry.mirror]]
        location = "mirror.example:5000/hub"
        insecure = true
        [[registry.mirror]]
        location = "digests.example"
        pull-from-mirror = "digest-only"
        [[registry.mirror]]
        location = "tags.example"
        pull-from-mirror = "tag-only"
        "#,
    );
    let mirror = |host, name| Place { mirror: true, ..secure(host, name) };
    let first = Place { insecure: true, ..mirror("mirror.example:5000", "hub/library/ubuntu") };
    let hub = secure("registry-1.docker.io", "library/ubuntu");
    let by_tag = places(&config, "ubuntu:22.04");
    assert_eq!(by_tag.pull, [first.clone(), mirror("tags.example", "library/ubuntu"), hub.clone()]);
    assert_eq!(by_tag.push, hub);
    let by_digest = places(&config, &format!("ubuntu@sha256:{}", "0".repeat(64)));
    assert_eq!(by_digest.pull, [first, mirror("digests.example", "library/ubuntu"), hub]);
}

#[test]
fn the_longest_prefix_counts_and_ends_at_a_slash() {
    let config = config(
        r#"
        [[registry]]
        location = "registry.example"
        insecure = true
        [[registry]]
        prefix = "registry.example/team"
        location = "team.example/images"
        [[registry]]
        prefix = "*.wild.example"
        insecure = true
        "#,
    );
    assert!(places(&config, "registry.example/other/image").push.insecure);
    assert_eq!(places(&config, "registry.example/team/image").push, secure("team.example", "images/image"));
    assert_eq!(places(&config, "registry.example/teamwork/image").push.name, "teamwork/image");
    let wild = places(&config, "a.wild.example/image").push;
    assert_eq!(wild, Place { insecure: true, ..secure("a.wild.example", "image") });
    assert!(!places(&config, "wild.example/image").push.insecure);
}

#[test]
fn a_blocked_registry_is_refused_by_name() {
    let config = config("[[registry]]\nprefix = \"bad.example/team\"\nblocked = true\n");
    let error = config.places(&"bad.example/team/image".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "bad.example/team/image is blocked by `bad.example/team` in registries.conf");
    places(&config, "bad.example/other");
}

#[test]
fn files_are_found_as_containers_finds_them_and_drop_ins_replace_tables() {
    let home = TempDir::new().unwrap();
    let containers = home.path().join(".config/containers");
    fs::create_dir_all(containers.join("registries.conf.d")).unwrap();
    fs::write(containers.join("registries.conf"), "[[registry]]\nlocation = 'a.example'\ninsecure = true\n").unwrap();
    fs::write(containers.join("registries.conf.d/1.conf"), "[[registry]]\nlocation = 'b.example'\ninsecure = true\n")
        .unwrap();
    let environment = Environment::from([("HOME", home.path().to_str().unwrap())]);
    let config = Config::from_environment(&environment).unwrap();
    assert!(places(&config, "a.example/x").push.insecure && places(&config, "b.example/x").push.insecure);

    fs::write(containers.join("registries.conf.d/2.conf"), "[[registry]]\nlocation = 'a.example'\n").unwrap();
    assert!(!places(&Config::from_environment(&environment).unwrap(), "a.example/x").push.insecure);

    fs::write(containers.join("registries.conf.d/3.conf"), "[[registry]\n").unwrap();
    let error = Config::from_environment(&environment).unwrap_err();
    assert!(matches!(&error, Error::ConfigSyntax { path, .. } if path.ends_with("3.conf")), "{error}");
    let missing = Environment::from([("CONTAINERS_REGISTRIES_CONF", "/nowhere/registries.conf")]);
    assert!(matches!(Config::from_environment(&missing), Err(Error::Config { .. })));
}

#[test]
fn a_mirror_that_lacks_a_blob_or_breaks_gives_way_to_the_next_and_the_last_word_is_the_locations() {
    let (mirror, location) = (Embedded::start(), Embedded::start());
    let (layer, bytes) = blob(200_000, 11);
    let text = format!(
        "[[registry]]\nprefix = 'registry.example'\nlocation = '{}'\n[[registry.mirror]]\nlocation = '127.0.0.1:1'\n\
         [[registry.mirror]]\nlocation = '{}/mirrored'\n",
        location.server.address(),
        mirror.server.address()
    );
    let watched = Watched::new(Settings { config: config(&text), ..Settings::default() });
    block_on(async {
        let repository = watched.repository("registry.example/image:1");
        let origin = BlobOrigin::Bytes(bytes.clone());
        repository.push_blob(&layer, &origin, None, &|_| ()).await.unwrap();
        assert!(mirror.server.requests().is_empty(), "nothing is pushed to a mirror");
        assert_eq!(pulled(&repository, &layer).await.unwrap(), bytes);
        assert!(watched.pauses().is_empty(), "nobody waits for a mirror");
        let asked = mirror.requests("GET", "");
        assert!(asked.iter().any(|get| get.target.starts_with("/v2/mirrored/image/blobs/")), "{asked:?}");
        let error = repository.manifest("1").await.unwrap_err();
        assert!(error.to_string().contains(&location.server.address().to_string()), "{error}");
    });
}
