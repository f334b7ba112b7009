//! Bases that can't be used: layouts on disk with what is wrong in each.

use std::fs;
use std::io::{self, Read};

use dlpack::oci::media_type;
use serde_json::{Value, json};
use tar::EntryType;

use super::shown_at;
use crate::support::command::Dlpack;
use crate::support::image::{Image, Layout, Packing, Tar};

type Lie = fn(&Layout) -> Value;

fn small(layout: &Layout) -> Image<'_> {
    layout.image().layer(Packing::Gzip, Tar::new().file("etc/passwd", "root\n"))
}

fn manifest(layout: &Layout, content: &Value) -> Value {
    layout.add(media_type::MANIFEST, content.to_string().as_bytes())
}

/// An image with another config.
fn with_config(layout: &Layout, media_type: &str, config: &[u8], size: Option<u64>) -> Value {
    let mut config = layout.add(media_type, config);
    if let Some(size) = size {
        config["size"] = size.into();
    }
    manifest(layout, &json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": []}))
}

/// The small image with other layers in its manifest.
fn with_layer(layout: &Layout, change: fn(&mut Value)) -> Value {
    small(layout).with_layers(|layers, _| change(&mut layers[0])).finish()
}

fn with_tar(layout: &Layout, tar: Tar) -> Value {
    layout.image().layer(Packing::Gzip, tar).finish()
}

/// Locks a recipe with an account over each of the images, which makes dlpack read
/// their layers.
fn said_of(name: &str, lies: &[(&str, Lie)]) {
    let dlpack = Dlpack::new();
    let layout = Layout::create(dlpack.work().join("layout"));
    let mut shown = shown_at(&dlpack);
    for (at, (case, lie)) in lies.iter().enumerate() {
        layout.tag(&format!("bad{at}"), &lie(&layout));
        let base = format!("base = {{ layout = \"layout\", tag = \"bad{at}\" }}\nplatform = \"linux/amd64\"\n");
        dlpack.write("dlpack.toml", &format!("{base}[[layer]]\nkind = \"account\"\nuser = \"dev\"\n"));
        shown.run(case, &mut dlpack.command(["lock"]));
    }
    shown.is(name);
}

#[test]
fn a_base_whose_manifest_or_config_lies() {
    said_of(
        "bases/manifests",
        &[
            ("no JSON", |layout| layout.add(media_type::MANIFEST, b"{")),
            ("layers and manifests", |layout| {
                manifest(layout, &json!({"schemaVersion": 2, "layers": [], "manifests": [], "config": {}}))
            }),
            ("another type inside", |layout| {
                manifest(layout, &json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": []}))
            }),
            ("a digest of another form", |layout| {
                with_layer(layout, |layer| layer["digest"] = "md5:d41d8cd98f00b204e9800998ecf8427e".into())
            }),
            ("neither an image nor an index", |layout| layout.add("application/vnd.example+json", b"{}")),
            ("over 4 MiB", |layout| layout.add(media_type::MANIFEST, &vec![b' '; (4 << 20) + 1])),
            ("an index in an index", |layout| {
                let inner = layout.index("inner", &[(small(layout).finish(), "amd64")]);
                layout.index("outer", &[(inner, "amd64")])
            }),
            ("an index without the platform", |layout| {
                layout.index("arm", &[(layout.image_for("arm64").finish(), "arm64")])
            }),
            ("an index without any platform", |layout| layout.index("none", &[])),
            ("an image for another platform", |layout| layout.image_for("arm64").finish()),
            ("a chart", |layout| with_config(layout, "application/vnd.cncf.helm.config.v1+json", b"{}", None)),
            ("a config that is none", |layout| with_config(layout, media_type::CONFIG, b"{\"rootfs\":5}", None)),
            ("a config that is too long", |layout| {
                with_config(layout, media_type::CONFIG, b"{\"author\":\"me\"}", Some(9 << 20))
            }),
            ("more layers in the config", |layout| {
                small(layout).with_layers(|_, diff_ids| diff_ids.push(diff_ids[0].clone())).finish()
            }),
            ("a manifest that is damaged on disk", |layout| {
                let manifest = layout.image().config(|config| config["author"] = "a".into()).finish();
                let path = layout.blob(manifest["digest"].as_str().unwrap());
                fs::write(&path, fs::read_to_string(&path).unwrap().replace("json", "jsom")).unwrap();
                manifest
            }),
        ],
    );
}

#[test]
fn a_base_whose_layers_lie() {
    said_of(
        "bases/layers",
        &[
            ("a layer that is encrypted", |layout| {
                with_layer(layout, |layer| {
                    layer["mediaType"] = format!("{}+encrypted", media_type::LAYER_GZIP).into();
                })
            }),
            ("a layer that is longer than its size", |layout| {
                with_layer(layout, |layer| layer["size"] = (layer["size"].as_u64().unwrap() - 1).into())
            }),
            ("a layer that is shorter than its size", |layout| {
                with_layer(layout, |layer| layer["size"] = (layer["size"].as_u64().unwrap() + 1).into())
            }),
            ("a layer that is missing", |layout| {
                with_layer(layout, |layer| layer["digest"] = format!("sha256:{}", "ab".repeat(32)).into())
            }),
            ("another DiffID", |layout| {
                small(layout).with_layers(|_, diff_ids| diff_ids[0] = format!("sha256:{}", "ab".repeat(32))).finish()
            }),
            ("no tar", |layout| layout.image().layer_from(Packing::Gzip, &[b'x'; 4096][..]).finish()),
            ("a tar that breaks off", |layout| {
                let whole = Tar::new().file("etc/passwd", [b'x'; 5000]).finish();
                layout.image().layer_from(Packing::Plain, &whole[..3000]).finish()
            }),
            ("a path out of the image", |layout| with_tar(layout, Tar::new().file("../etc/passwd", "root\n"))),
            ("a hard link out of the image", |layout| {
                with_tar(layout, Tar::new().hard_link("etc/passwd", "../../etc/passwd"))
            }),
            ("a name of two megabytes", |layout| {
                let name = vec![b'n'; 2 << 20];
                with_tar(layout, Tar::new().entry(EntryType::GNULongName, "long", "", 0o644, (0, 0), &name))
            }),
            ("an extended header that is none", |layout| {
                with_tar(layout, Tar::new().entry(EntryType::XHeader, "pax", "", 0o644, (0, 0), b"rubbish"))
            }),
            ("two extended headers for one file", |layout| {
                let pax = |tar: Tar, record: &[u8]| tar.entry(EntryType::XHeader, "pax", "", 0o644, (0, 0), record);
                let twice = pax(pax(Tar::new(), b"11 path=ab\n"), b"11 path=cd\n");
                with_tar(layout, twice.file("x", ""))
            }),
            ("more names than any layer has", |layout| {
                let name = vec![b'n'; 1 << 19];
                let long =
                    |tar: Tar, _| tar.entry(EntryType::GNULongName, "long", "", 0o644, (0, 0), &name).file("short", "");
                with_tar(layout, (0..258).fold(Tar::new(), long))
            }),
            ("a bomb", |layout| {
                let head = Tar::new().file("etc/passwd", "root\n").finish();
                let tar = io::Cursor::new(head).chain(io::repeat(0).take(300_000_000));
                layout.image().layer_from(Packing::Zstd, tar).finish()
            }),
            ("an account file that is too long", |layout| {
                with_tar(layout, Tar::new().file("etc/passwd", vec![b'x'; (1 << 20) + 1]))
            }),
        ],
    );
}

#[test]
fn a_layout_that_is_none() {
    let dlpack = Dlpack::new();
    let mut shown = shown_at(&dlpack);
    let mut locked = |case: &str, base: &str| {
        dlpack.write("dlpack.toml", &format!("base = {{ {base} }}\n"));
        shown.run(case, &mut dlpack.command(["lock"]));
    };
    dlpack.write("directory/file", "");
    locked("a directory that is no layout", "layout = \"directory\"");
    dlpack.write("old/oci-layout", "{\"imageLayoutVersion\":\"0.9.0\"}");
    locked("a layout of another version", "layout = \"old\"");
    dlpack.write("bare/oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
    locked("a layout without an index", "layout = \"bare\"");
    dlpack.write("bare/index.json", "{");
    locked("an index that is none", "layout = \"bare\"");
    dlpack.write("bare/index.json", "{\"schemaVersion\":2,\"layers\":[]}");
    locked("a manifest for an index", "layout = \"bare\"");
    dlpack.write("bare/index.json", "{\"schemaVersion\":2,\"manifests\":[]}");
    locked("an empty layout", "layout = \"bare\"");
    let layout = Layout::create(dlpack.work().join("layout"));
    small(&layout).tagged("one");
    layout.image().tagged("two");
    locked("another name", "layout = \"layout\", tag = \"latest\"");
    locked("no name where there are two", "layout = \"layout\"");
    shown.is("bases/layouts");
}
