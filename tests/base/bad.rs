//! Bases that lie.

use std::fs;
use std::io::{self, Read};

use dlpack::lock::base::Error;
use dlpack::oci::media_type;
use serde_json::{Value, json};
use tar::EntryType;

use super::{ALL, NONE, World, in_layout, named};
use crate::support::image::{Form, Image, Layout, Packing, Tar};
use crate::support::registry::DebianRegistry;

fn small(layout: &Layout) -> Image<'_> {
    layout.image().layer(Packing::Gzip, Tar::new().file("etc/passwd", "root\n"))
}

/// The error of the image that `make` puts into a layout as `bad`, with its causes.
async fn refused(make: impl FnOnce(&Layout)) -> String {
    let world = World::new();
    make(&world.layout());
    let error = world.resolve(&in_layout("bad"), ALL).await.unwrap_err();
    assert_eq!(fs::read_dir(world.store.root().join("listings")).unwrap().count(), 0);
    told(&error)
}

fn told(error: &Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test]
async fn a_manifest_with_layers_and_manifests_is_refused() {
    let error = refused(|layout| {
        let both = json!({"schemaVersion": 2, "layers": [], "manifests": [], "config": {}});
        layout.tag("bad", &layout.add(media_type::MANIFEST, both.to_string().as_bytes()));
    })
    .await;
    assert!(error.contains("has both `layers` and `manifests`"), "{error}");
}

#[tokio::test]
async fn a_manifest_that_is_damaged_on_disk_is_refused() {
    let error = refused(|layout| {
        let manifest = small(layout).tagged("bad");
        let path = layout.blob(manifest["digest"].as_str().unwrap());
        let flipped = fs::read_to_string(&path)
            .unwrap()
            .replace("linux", "linuz")
            .replace("schemaVersion\":2", "schemaVersion\":3");
        fs::write(&path, flipped).unwrap();
    })
    .await;
    assert!(error.contains("is not what it should be"), "{error}");
}

#[tokio::test]
async fn a_layer_whose_size_lies_is_refused() {
    for wrong in [-1, 1] {
        let error = refused(|layout| {
            let lie = |layers: &mut Vec<Value>, _: &mut Vec<String>| {
                layers[0]["size"] = (layers[0]["size"].as_i64().unwrap() + wrong).into();
            };
            small(layout).with_layers(lie).tagged("bad");
        })
        .await;
        assert!(error.starts_with("can't read blob sha256:") && error.contains(" bytes"), "{error}");
    }
}

#[tokio::test]
async fn a_layer_that_the_registry_damaged_is_refused_and_read_anew_once_it_is_whole() {
    let registry = DebianRegistry::start();
    let world = World::with(&registry);
    let layout = world.layout();
    small(&layout).tagged("small");
    layout.push("small", &registry, "library/small:1", Form::Oci);
    let layer = world.resolve(&named("small:1"), NONE).await.unwrap().image.unwrap().manifest.layers[0].digest;
    let file = registry.blob_file(&layer.to_string());
    let whole = fs::read(&file).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&file, damaged).unwrap();
    world.resolve(&named("small:1"), ALL).await.unwrap_err();
    assert_eq!(world.store.listing(&layer).unwrap(), None);
    fs::write(&file, whole).unwrap();
    let resolved = world.resolve(&named("small:1"), ALL).await.unwrap();
    assert_eq!(resolved.locked.file("etc/passwd").unwrap().content, "root\n");
}

#[tokio::test]
async fn a_diff_id_that_lies_is_refused() {
    let other = format!("sha256:{}", "ab".repeat(32));
    let error = refused(|layout| {
        small(layout).with_layers(|_, diff_ids| diff_ids[0].clone_from(&other)).tagged("bad");
    })
    .await;
    assert!(error.contains("unpacks to") && error.contains(&other), "{error}");
}

#[tokio::test]
async fn a_config_with_more_layers_than_the_manifest_is_refused() {
    let error = refused(|layout| {
        small(layout).with_layers(|_, diff_ids| diff_ids.push(diff_ids[0].clone())).tagged("bad");
    })
    .await;
    assert!(error.ends_with("are 1 by itself, and 2 by its config"), "{error}");
}

#[tokio::test]
async fn a_layer_that_is_no_tar_is_refused() {
    let noise: Vec<u8> = (0..4096_u32).map(|n| (n * 7 % 251) as u8).collect();
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let error = refused(|layout| {
            layout.image().layer_from(packing, &noise[..]).tagged("bad");
        })
        .await;
        assert!(error.contains("there is no tar header at byte 0"), "{error}");
    }
}

#[tokio::test]
async fn a_tar_that_breaks_off_is_refused() {
    let whole = Tar::new().file("etc/passwd", vec![b'x'; 5000]).finish();
    let error = refused(|layout| {
        layout.image().layer_from(Packing::Gzip, &whole[..3000]).tagged("bad");
    })
    .await;
    assert!(error.contains("can't be read at byte"), "{error}");
}

#[tokio::test]
async fn a_path_out_of_the_image_is_refused() {
    for path in ["../etc/passwd", "etc/../../passwd", "/../x"] {
        let error = refused(|layout| {
            layout.image().layer(Packing::Gzip, Tar::new().file(path, "root\n")).tagged("bad");
        })
        .await;
        assert!(error.contains(&format!("has an entry `{path}`")), "{error}");
    }
}

#[tokio::test]
async fn a_hard_link_out_of_the_image_is_refused() {
    let error = refused(|layout| {
        layout.image().layer(Packing::Gzip, Tar::new().hard_link("etc/passwd", "../../etc/passwd")).tagged("bad");
    })
    .await;
    assert!(error.contains("has an entry `../../etc/passwd`"), "{error}");
}

#[tokio::test]
async fn an_absolute_path_is_taken_as_relative_to_the_image() {
    let world = World::new();
    world.layout().image().layer(Packing::Gzip, Tar::new().file("/etc/passwd", "root\n")).tagged("image");
    let locked = world.resolve(&in_layout("image"), ALL).await.unwrap().locked;
    assert_eq!(locked.file("etc/passwd").unwrap().content, "root\n");
}

#[tokio::test]
async fn a_name_of_many_megabytes_is_refused_before_it_is_read() {
    let name = vec![b'n'; 2 << 20];
    let error = refused(|layout| {
        let tar = Tar::new().entry(EntryType::GNULongName, "long", "", 0o644, (0, 0), &name);
        layout.image().layer(Packing::Gzip, tar).tagged("bad");
    })
    .await;
    assert!(error.contains("announces a name of 2097152 bytes"), "{error}");
}

#[tokio::test]
async fn a_bomb_is_refused_at_its_limit() {
    for packing in [Packing::Gzip, Packing::Zstd] {
        let error = refused(|layout| {
            let head = Tar::new().file("etc/passwd", "root\n").finish();
            let tar = io::Cursor::new(head).chain(io::repeat(0).take(400_000_000));
            layout.image().layer_from(packing, tar).tagged("bad");
        })
        .await;
        assert!(error.contains(" bytes inflates to more than "), "{error}");
    }
}

#[tokio::test]
async fn a_layer_of_another_kind_is_refused() {
    let error = refused(|layout| {
        let encrypted = format!("{}+encrypted", media_type::LAYER_GZIP);
        small(layout).with_layers(|layers, _| layers[0]["mediaType"] = encrypted.into()).tagged("bad");
    })
    .await;
    assert!(error.contains("tar+gzip+encrypted`, which can't be read"), "{error}");
}

#[tokio::test]
async fn an_index_that_leads_to_an_index_is_refused() {
    let error = refused(|layout| {
        let inner = layout.index("inner", &[(small(layout).finish(), "amd64")]);
        layout.index("bad", &[(inner, "amd64")]);
    })
    .await;
    assert!(error.contains("leads to another index"), "{error}");
}

#[tokio::test]
async fn an_artifact_that_is_no_image_is_refused() {
    let error = refused(|layout| {
        let config = layout.add("application/vnd.cncf.helm.config.v1+json", b"{}");
        let chart = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": []});
        layout.tag("bad", &layout.add(media_type::MANIFEST, chart.to_string().as_bytes()));
    })
    .await;
    assert!(error.contains("is no image: its config is a `application/vnd.cncf.helm"), "{error}");
}

#[tokio::test]
async fn an_image_for_another_platform_is_refused() {
    let error = refused(|layout| {
        layout.image_for("arm64").layer(Packing::Gzip, Tar::new().file("etc/passwd", "")).tagged("bad");
    })
    .await;
    assert_eq!(error, "the base is an image for linux/arm64, not for linux/amd64");
}

#[tokio::test]
async fn an_account_file_that_is_too_long_to_amend_is_refused() {
    let world = World::new();
    let long = vec![b'x'; (1 << 20) + 1];
    world.layout().image().layer(Packing::Gzip, Tar::new().file("etc/passwd", &long)).tagged("bad");
    let error = world.resolve(&in_layout("bad"), ALL).await.unwrap_err();
    assert_eq!(told(&error), "/etc/passwd of the base has 1048577 bytes, too many to be amended or copied");
}

#[tokio::test]
async fn a_directory_that_is_no_layout_is_refused_with_a_hint() {
    let world = World::new();
    fs::create_dir(world.directory.path().join("layout")).unwrap();
    let error = world.resolve(&in_layout("any"), NONE).await.unwrap_err();
    assert!(told(&error).ends_with("is not an OCI image layout of version 1.0.0"), "{error}");
    assert_eq!(error.hint().unwrap(), "name the directory that has `oci-layout` and `index.json` in it");
}

#[tokio::test]
async fn a_name_that_no_image_can_have_is_refused_with_a_hint() {
    let error = World::new().resolve(&named("Not An Image"), NONE).await.unwrap_err();
    assert!(error.to_string().starts_with("`Not An Image` is not the name of an image"));
    assert!(error.hint().unwrap().contains("docker pull"));
}
