//! `dlpack inspect`: an image's layers and what is in them, biggest first.

use serde_json::json;

use super::context::Context;
use super::display::{bytes, count, show, table};
use super::error::Failure;
use crate::assemble::{self, ANNOTATION_CONTENTS, Described};
use crate::changeset::{ANNOTATION_LAYER, Content};
use crate::oci::Descriptor;
use crate::registry::Reference;

/// Show an image's layers and what is in them, biggest first
///
/// Looks in the store, then in the registry; fetches the manifest and the config,
/// no layer.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The image, by tag or by digest
    #[arg(value_parser = super::reference)]
    image: Reference,
}

/// One layer as it is shown.
struct Row {
    position: usize,
    descriptor: Descriptor,
    layer: String,
    contents: Vec<Content>,
    made_by: String,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let (store, registries) = (context.store()?, context.registries()?);
    let image = assemble::describe(&arguments.image, &context.platform(), &store, &registries).await?;
    let mut rows = rows(&image);
    rows.sort_by(|a, b| b.descriptor.size.cmp(&a.descriptor.size).then(a.position.cmp(&b.position)));
    context.finish();
    if context.json() {
        show(as_json(&image, &rows))?;
    } else {
        show(as_text(&image, &rows).trim_end())?;
    }
    Ok(())
}

fn rows(image: &Described) -> Vec<Row> {
    let mut history = image.config.history.iter().filter(|entry| !entry.empty_layer);
    let row = |(position, descriptor): (usize, &Descriptor)| {
        let entry = history.next();
        let made_by =
            entry.and_then(|entry| entry.created_by.as_deref().or(entry.comment.as_deref())).unwrap_or_default();
        let contents = descriptor.annotations.get(ANNOTATION_CONTENTS);
        let mut contents: Vec<Content> = contents.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        contents.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        Row {
            position,
            descriptor: descriptor.clone(),
            layer: descriptor.annotations.get(ANNOTATION_LAYER).cloned().unwrap_or_else(|| "base".to_owned()),
            contents,
            made_by: made_by.to_owned(),
        }
    };
    image.manifest.layers.iter().enumerate().map(row).collect()
}

fn as_text(image: &Described, rows: &[Row]) -> String {
    let container = &image.config.config;
    let list = |list: &Option<Vec<String>>| list.as_ref().map(|words| words.join(" ")).unwrap_or_else(|| "-".into());
    let ports = container.exposed_ports.as_ref().map(|ports| ports.keys().cloned().collect::<Vec<_>>().join(" "));
    let total: u64 = rows.iter().map(|row| row.descriptor.size).sum();
    let or_dash = |value: Option<&String>| value.cloned().unwrap_or_else(|| "-".into());
    let facts = [
        ("manifest", image.descriptor.digest.to_string()),
        ("platform", format!("{}/{}", image.config.os, image.config.architecture)),
        ("created", or_dash(image.config.created.as_ref())),
        ("user", or_dash(container.user.as_ref())),
        ("workdir", or_dash(container.working_dir.as_ref())),
        ("entrypoint", list(&container.entrypoint)),
        ("cmd", list(&container.cmd)),
        ("ports", ports.unwrap_or_else(|| "-".into())),
        ("size", format!("{} in {}", bytes(total), count(rows.len(), "layer"))),
    ];
    let facts: Vec<Vec<String>> = facts.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let mut text = table(&facts, &[]);
    text.push('\n');
    let mut lines = vec![["#", "layer", "size", "digest", "what"].map(str::to_owned).to_vec()];
    for row in rows {
        let what = match row.contents.as_slice() {
            [] => row.made_by.chars().take(60).collect(),
            [only] => only.name.clone(),
            many => format!("{} things", many.len()),
        };
        lines.push(vec![
            (row.position + 1).to_string(),
            row.layer.clone(),
            bytes(row.descriptor.size),
            row.descriptor.digest.short(),
            what,
        ]);
        if row.contents.len() > 1 {
            let inside = |content: &Content| {
                vec![String::new(), String::new(), bytes(content.bytes), String::new(), format!("  {}", content.name)]
            };
            lines.extend(row.contents.iter().map(inside));
        }
    }
    text.push_str(&table(&lines, &[0, 2]));
    text
}

fn as_json(image: &Described, rows: &[Row]) -> serde_json::Value {
    let layers = rows.iter().map(|row| {
        json!({
            "position": row.position + 1,
            "layer": row.layer,
            "digest": row.descriptor.digest,
            "size": row.descriptor.size,
            "mediaType": row.descriptor.media_type,
            "contents": row.contents,
            "createdBy": row.made_by,
        })
    });
    json!({ "digest": image.descriptor.digest, "config": image.config, "layers": layers.collect::<Vec<_>>() })
}
