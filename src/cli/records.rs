//! `dlpack cache gc REPOSITORY`: fewer records in a remote cache.

use jiff::Timestamp;
use serde_json::json;

use super::context::Context;
use super::display::{ago, bytes, count, show, table};
use super::error::Failure;
use crate::cache::{self, Collected, Policy, Stored};
use crate::registry::Reference;

/// Collects the records in `repository`, or says what that would be.
pub async fn gc(context: &Context, repository: &Reference, policy: &Policy, dry_run: bool) -> Result<(), Failure> {
    let registries = context.registries()?;
    let collected = cache::collect(&registries.repository(repository)?, policy, dry_run).await?;
    for (record, error) in &collected.failed {
        context.progress().warn(format!("record {} stays: {error}", record.digest.short()));
    }
    context.finish();
    tell(context, &collected, dry_run)?;
    match collected.failed.into_iter().next_back() {
        None => Ok(()),
        Some((_, source)) => Err(cache::Error::Remove { place: repository.to_string(), source }.into()),
    }
}

fn tell(context: &Context, collected: &Collected, dry_run: bool) -> Result<(), Failure> {
    if context.json() {
        return show(as_json(collected, dry_run));
    }
    if dry_run && !collected.removed.is_empty() {
        show(as_table(&collected.removed).trim_end())?;
    }
    show(format_args!(
        "{} {}, at most {} to be freed when the registry collects its garbage; {} kept, of {}",
        count(collected.removed.len(), "record"),
        if dry_run { "to be removed" } else { "removed" },
        bytes(collected.freed),
        collected.records,
        bytes(collected.kept)
    ))
}

fn as_table(removed: &[Stored]) -> String {
    let mut rows = vec![["size", "key", "written", "layer"].map(str::to_owned).to_vec()];
    let now = Timestamp::now();
    rows.extend(removed.iter().map(|record| {
        let written = record.created.map(|then| ago(now.duration_since(then).try_into().unwrap_or_default()));
        vec![
            if record.blobs.is_empty() { "-".to_owned() } else { bytes(record.size()) },
            record.key.map_or_else(|| "-".to_owned(), |key| key.0.short()),
            written.unwrap_or_else(|| "-".to_owned()),
            record.history.chars().take(60).collect(),
        ]
    }));
    table(&rows, &[0])
}

fn as_json(collected: &Collected, dry_run: bool) -> serde_json::Value {
    let told = |record: &Stored| {
        json!({
            "digest": record.digest, "key": record.key, "blobs": record.blobs, "layer": record.history,
            "created": record.created.map(|created| created.to_string()),
        })
    };
    let removed: Vec<_> = collected.removed.iter().map(told).collect();
    let failed: Vec<_> = collected.failed.iter().map(|(record, _)| told(record)).collect();
    let (freed, records, kept) = (collected.freed, collected.records, collected.kept);
    json!({ "dryRun": dry_run, "removed": removed, "failed": failed, "freed": freed, "records": records, "kept": kept })
}
