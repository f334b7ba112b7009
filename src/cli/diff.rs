//! `dlpack diff`: two images by layer, wheel, package, config and file.

use std::collections::BTreeMap;

use serde_json::json;

use super::context::Context;
use super::display::{bytes, count, show, table};
use super::error::Failure;
use crate::assemble;
use crate::diff::{Change, Difference, FileChange, LayerOf, between, of_files};
use crate::registry::{Reference, Source};

/// Show what differs between two images: layers, wheels, Debian packages, config, files
///
/// Looks for each in the store, then in the registry; fetches manifests and configs, and with
/// --files the layers that one of them alone has.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// An image, by tag or by digest
    #[arg(value_parser = super::reference)]
    one: Reference,
    /// The image that it is compared with
    #[arg(value_parser = super::reference)]
    other: Reference,
    /// Compare the files of the layers that differ
    #[arg(long)]
    files: bool,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let (store, registries) = (context.store()?, context.registries()?);
    // What is fetched is not to be collected before it is read.
    let _lease = arguments.files.then(|| store.lease()).transpose()?;
    let platform = context.platform();
    let one = assemble::describe(&arguments.one, &platform, &store, &registries).await?;
    let other = assemble::describe(&arguments.other, &platform, &store, &registries).await?;
    let difference = between(&one, &other);
    let files = match arguments.files {
        true => {
            let source =
                |reference: &Reference| Ok::<_, Failure>(Source::Registry(Box::new(registries.repository(reference)?)));
            let sources = (source(&arguments.one)?, source(&arguments.other)?);
            let layers = (difference.removed.as_slice(), difference.added.as_slice());
            Some(of_files(layers, (&sources.0, &sources.1), &store, context.progress()).await?)
        }
        false => None,
    };
    context.finish();
    if context.json() {
        let mut json = json!(difference);
        json["digests"] = json!([one.descriptor.digest, other.descriptor.digest]);
        if let Some(files) = files {
            json["files"] = json!(files);
        }
        return show(json);
    }
    show(as_text(&difference, files.as_ref()).trim_end())
}

fn as_text(difference: &Difference, files: Option<&BTreeMap<String, FileChange>>) -> String {
    let mut text = String::new();
    let mut section = |title: &str, rows: Vec<Vec<String>>, right: &[usize]| {
        if !rows.is_empty() {
            text += &format!("{}{title}\n{}", if text.is_empty() { "" } else { "\n" }, table(&rows, right));
        }
    };
    let layers = rows("-", &difference.removed).chain(rows("+", &difference.added)).collect();
    let order = if difference.reordered { ", in another order" } else { "" };
    section(&format!("layers ({} in common{order})", difference.common), layers, &[3]);
    section("wheels", changes(&difference.wheels), &[]);
    section("packages", changes(&difference.debs), &[]);
    section("config", changes(&difference.config), &[]);
    section("files", files.into_iter().flatten().map(file).collect(), &[]);
    if difference.is_none() {
        return format!("no difference: {} in common", count(difference.common, "layer"));
    }
    if difference.reordered && text.is_empty() { "the same layers in another order".to_owned() } else { text }
}

fn rows(sign: &'static str, layers: &[LayerOf]) -> impl Iterator<Item = Vec<String>> {
    layers.iter().map(move |layer| {
        let what = layer.what.chars().take(60).collect();
        let name = layer.layer.clone().unwrap_or_else(|| "base".to_owned());
        vec![sign.to_owned(), name, layer.digest.short(), bytes(layer.size), what]
    })
}

fn changes(changes: &BTreeMap<String, Change>) -> Vec<Vec<String>> {
    let row = |(name, Change { from, to }): (&String, &Change)| {
        let (sign, what) = match (from, to) {
            (Some(from), Some(to)) => ("~", format!("{from} → {to}")),
            (Some(from), None) => ("-", from.clone()),
            (None, to) => ("+", to.clone().unwrap_or_default()),
        };
        vec![sign.to_owned(), name.clone(), what]
    };
    changes.iter().map(row).collect()
}

fn file((path, change): (&String, &FileChange)) -> Vec<String> {
    let (sign, what) = match change {
        FileChange::Added => ("+", ""),
        FileChange::Removed => ("-", ""),
        FileChange::Content => ("~", ""),
        FileChange::Attributes => ("~", "mode or owner"),
    };
    vec![sign.to_owned(), format!("/{path}"), what.to_owned()]
}
