//! From a merged document to a [`Recipe`]: the top level, the base, the image
//! config, and what has to hold between layers.

use std::collections::BTreeMap;

use crate::cache::VerifyingKey;
use crate::layer::Compression;

use super::container::{Container, container};
use super::error::{Fault, Problem};
use super::layers::layer;
use super::model::{Archive, Base, Config, Layer, LayerKind, Recipe, Venv};
use super::origin::{Files, Origin};
use super::table::{Field, Table};
use super::test::{Tests, tests};
use super::tree::{Entries, Value};
use super::values::{self, Complaint};

/// What a recipe's file may hold.
const KEYS: [&str; 13] = [
    "extends",
    "drop",
    "vars",
    "base",
    "platform",
    "cache-keys",
    "wheelhouses",
    "max-layer-size",
    "compression",
    "config",
    "run",
    "test",
    "layer",
];

/// Reads a recipe whose flavours are merged and whose variables are filled in.
pub(super) fn decode(root: &Entries, origin: Origin, files: &Files) -> Result<Recipe, Fault> {
    let table = Table::of(root, origin, files, "a recipe", &KEYS)?;
    let platform =
        |field: Field<'_>| field.text(values::platform)?.parse().map_err(|_| field.wrong_type("os/architecture", None));
    Ok(Recipe {
        base: table.needs("base", table.field("base").map(base).transpose()?)?,
        platform: table.field("platform").map(platform).transpose()?,
        cache_keys: table.list("cache-keys", cache_key)?,
        wheelhouses: table.texts("wheelhouses", values::repository)?,
        max_layer_size: table.field("max-layer-size").map(layer_size).transpose()?,
        compression: table.field("compression").map(compression).transpose()?.unwrap_or_default(),
        config: table.field("config").map(config).transpose()?.unwrap_or_default(),
        layers: layers(&table, files)?,
    })
}

/// How containers of the image are started: what of a recipe is in no lock.
pub(super) fn decode_container(root: &Entries, origin: Origin, files: &Files) -> Result<Container, Fault> {
    let table = Table::of(root, origin, files, "a recipe", &KEYS)?;
    Ok(table.field("run").map(container).transpose()?.unwrap_or_default())
}

/// What the image is tested by: that is in no lock either.
pub(super) fn decode_tests(root: &Entries, origin: Origin, files: &Files) -> Result<Tests, Fault> {
    let table = Table::of(root, origin, files, "a recipe", &KEYS)?;
    Ok(table.field("test").map(tests).transpose()?.unwrap_or_default())
}

fn base(field: Field<'_>) -> Result<Base, Fault> {
    if let Some(name) = field.node.text() {
        return if name == "scratch" { Ok(Base::Scratch) } else { field.text(values::image).map(Base::Image) };
    }
    if !matches!(field.node.value, Value::Table(_)) {
        return Err(field.wrong_type("an image's name, \"scratch\", or a table with `layout` or `archive`", None));
    }
    if field.get("archive").is_some() {
        return archive(field).map(Base::Archive);
    }
    let table = Table::open(field, "a base", &["layout", "tag", "archive"])?;
    Ok(Base::Layout { path: table.needs("layout", table.path("layout")?)?, tag: table.text("tag", values::something)? })
}

fn archive(field: Field<'_>) -> Result<Archive, Fault> {
    let keys = &["archive", "suite", "packages", "mirror", "components", "key"];
    let table = Table::open(field, "a base from an archive", keys)?;
    let components = table.field("components").map(|_| table.texts("components", values::component)).transpose()?;
    Ok(Archive {
        archive: table.needs("archive", table.text("archive", values::origin)?)?,
        suite: table.needs("suite", table.text("suite", values::codename)?)?,
        packages: table.texts("packages", values::base_package)?,
        mirror: table.text("mirror", values::archive)?,
        components: components.unwrap_or_else(super::model::main),
        key: table.path("key")?,
    })
}

fn cache_key(field: Field<'_>) -> Result<VerifyingKey, Fault> {
    let text = field.text(values::any)?;
    let expected = || Complaint::new("a key is \"ed25519:\" and the base64 of its 32 bytes");
    text.parse().map_err(|_| field.refused(&text, expected()))
}

/// `"9.5GB"`: bytes, with a unit of 1000.
fn layer_size(field: Field<'_>) -> Result<u64, Fault> {
    let text = field.text(values::any)?;
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "MB" => Some(1e6),
        "GB" => Some(1e9),
        _ => None,
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let count = digits.parse::<f64>().ok().filter(|_| plain).zip(unit).map(|(count, unit)| (count * unit).round());
    // Below, all but the smallest files would have a layer each.
    let size = count.filter(|bytes| (1e6..1e15).contains(bytes)).map(|bytes| bytes as u64);
    size.ok_or_else(|| field.refused(&text, Complaint::new("a layer's size is \"1MB\" or more, such as \"9.5GB\"")))
}

fn compression(field: Field<'_>) -> Result<Compression, Fault> {
    match field.text(values::any)?.as_str() {
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        other => Err(field.refused(other, Complaint::new("blobs are compressed with \"gzip\" or \"zstd\""))),
    }
}

fn config(field: Field<'_>) -> Result<Config, Fault> {
    let keys = &["env", "labels", "expose", "workdir", "user", "entrypoint", "cmd"];
    let table = Table::open(field, "[config]", keys)?;
    let command = |key| table.field(key).map(|_| table.texts(key, values::any)).transpose();
    Ok(Config {
        env: table.strings("env", values::environment, values::with_variables)?,
        labels: table.strings("labels", values::something, values::any)?,
        expose: table.list("expose", exposed)?,
        workdir: table.text("workdir", values::image_directory)?,
        user: table.text("user", values::image_user)?,
        entrypoint: command("entrypoint")?,
        cmd: command("cmd")?,
    })
}

/// `8888`, `"8888"` or `"8888/udp"`.
fn exposed(field: Field<'_>) -> Result<String, Fault> {
    match field.node.value {
        Value::Integer(_) => field.integer(1..=u16::MAX, "a port is").map(|port: u16| port.to_string()),
        _ => field.text(values::exposed),
    }
}

fn layers(table: &Table<'_>, files: &Files) -> Result<Vec<Layer>, Fault> {
    let mut claimed: BTreeMap<String, Origin> = BTreeMap::new();
    table.list("layer", |field| Ok((field, layer(field)?)))?.into_iter().try_fold(
        Vec::new(),
        |mut layers, (field, layer)| {
            if let Some((key, what)) = claim(&layer) {
                let origin = field.get(key).map_or(field.node.origin, |field| field.node.origin);
                if let Some(first) = claimed.insert(what.clone(), origin) {
                    let hint = "put both into one layer";
                    let problem = Problem::Twice { what, first: files.location(first), hint };
                    return Err(Fault { origin, problem });
                }
            }
            check_sees(field, &layer, &layers)?;
            check_user(field, &layer, &layers)?;
            layers.push(layer);
            Ok(layers)
        },
    )
}

/// A layer can see only those that lie under it.
fn check_sees(field: Field<'_>, layer: &Layer, before: &[Layer]) -> Result<(), Fault> {
    let LayerKind::Run(run) = &layer.kind else { return Ok(()) };
    let Some((position, name)) =
        run.sees.iter().enumerate().find(|(_, name)| !before.iter().any(|other| other.name == **name))
    else {
        return Ok(());
    };
    let item = field.get("sees").and_then(|sees| match &sees.node.value {
        Value::Array(items) => items.get(position),
        _ => None,
    });
    let known = before.iter().map(|layer| layer.name.clone()).collect();
    let problem = Problem::NotBefore { name: name.clone(), known };
    Err(Fault { origin: item.map_or(field.node.origin, |item| item.origin), problem })
}

/// Packages are for an account that is there.
fn check_user(field: Field<'_>, layer: &Layer, before: &[Layer]) -> Result<(), Fault> {
    let (LayerKind::Venv(Venv { user: Some(user), .. }), Some(field)) = (&layer.kind, field.get("user")) else {
        return Ok(());
    };
    let makes = |layer: &Layer| matches!(&layer.kind, LayerKind::Account(account) if account.user == *user);
    if before.iter().any(makes) {
        return Ok(());
    }
    let complaint = Complaint::new("no layer before this one makes such an account");
    Err(field.refused(user, complaint.hint("put a layer of kind \"account\" before it")))
}

/// What two layers of one image can't both be about, and the key that says it.
fn claim(layer: &Layer) -> Option<(&'static str, String)> {
    match &layer.kind {
        LayerKind::Venv(Venv { user: Some(user), .. }) => Some(("user", format!("packages for `{user}`"))),
        LayerKind::Venv(venv) => Some(("path", format!("a venv at `{}`", venv.path))),
        LayerKind::Account(account) => Some(("user", format!("an account `{}`", account.user))),
        LayerKind::Sshd(_) => Some(("kind", "an sshd layer".into())),
        LayerKind::Jupyter(_) => Some(("kind", "a jupyter layer".into())),
        LayerKind::Timezone(_) => Some(("kind", "a timezone layer".into())),
        LayerKind::Apt(_) | LayerKind::Run(_) | LayerKind::Files(_) => None,
    }
}
