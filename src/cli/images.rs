//! `dlpack images`: which images the store has.

use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::json;

use super::context::Context;
use super::display::{ago, bytes, show, table};
use super::error::Failure;
use crate::store::Image;

/// Show the images that the store has a name for
///
/// Of each its manifest's digest, the size of all its layers as registries keep them, and how
/// much of that is in the store. `cache gc --forget NAME` takes a name away.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

pub fn run(context: &Context, _: &Arguments) -> Result<(), Failure> {
    let images = context.store()?.images()?;
    if context.json() {
        return show(serde_json::Value::from(images.iter().map(as_json).collect::<Vec<_>>()));
    }
    let header = ["name", "digest", "size", "here", "last used"].map(str::to_owned).to_vec();
    let rows: Vec<_> = std::iter::once(header).chain(images.iter().map(as_row)).collect();
    show(table(&rows, &[2, 3]).trim_end())
}

fn as_row(image: &Image) -> Vec<String> {
    let here = if image.here == image.size { "all".to_owned() } else { bytes(image.here) };
    let last_used = image.last_used.map(|then| ago(SystemTime::now().duration_since(then).unwrap_or_default()));
    vec![image.name.clone(), image.digest.short(), bytes(image.size), here, last_used.unwrap_or_default()]
}

fn as_json(image: &Image) -> serde_json::Value {
    let last_used = image.last_used.and_then(|then| Timestamp::try_from(then).ok()).map(|then| then.to_string());
    json!({
        "name": image.name, "digest": image.digest, "size": image.size, "here": image.here, "lastUsed": last_used,
    })
}
