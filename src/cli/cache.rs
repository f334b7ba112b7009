//! `dlpack cache`: what the store holds, whether it is sound, and less of it; less of a remote
//! cache, too.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Subcommand;
use serde_json::json;

use super::context::Context;
use super::display::{ago, bytes, show, table};
use super::error::{ExitKind, Failure};
use super::{amounts, blocking, records};
use crate::cache;
use crate::progress::Activity;
use crate::registry::Reference;
use crate::store::{Entry, Kind, Policy};

/// Show, verify or shrink the store
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show what the store holds, biggest first
    List,
    /// Read everything in the store and remove what is damaged
    Verify,
    /// Remove what no tag needs and nobody used lately
    ///
    /// Without options only what killed runs left behind. Layers whose wheels are kept as
    /// well go first: a build makes them again. With a repository, records of the remote cache
    /// there: never an image, and blobs only as its registry collects its own garbage.
    Gc {
        /// Collect records in this repository, and nothing here; without options only those that newer
        /// ones have replaced
        #[arg(value_parser = super::reference, conflicts_with = "forget")]
        repository: Option<Reference>,
        /// Forget this name first, so that what it alone needs can go; may be given more than once
        #[arg(long, value_name = "NAME", value_parser = super::reference)]
        forget: Vec<Reference>,
        /// Least recently used first, until the store, or what the records keep, has at most so much:
        /// 50GB, 500MB
        #[arg(long, value_name = "SIZE", value_parser = amounts::size)]
        max_size: Option<u64>,
        /// Everything that was not used for so long: 30d, 12h. A push writes the records that it uses
        /// anew once they are a week old
        #[arg(long, visible_alias = "older-than", value_name = "TIME", value_parser = amounts::span)]
        unused_for: Option<Duration>,
        /// Say what would be removed from the repository, and remove nothing
        #[arg(long, requires = "repository")]
        dry_run: bool,
    },
}

pub async fn run(context: &Arc<Context>, arguments: Arguments) -> Result<(), Failure> {
    let (context, verb) = (Arc::clone(context), arguments.verb);
    if let Verb::Gc { repository: Some(repository), max_size, unused_for, dry_run, .. } = verb {
        return records::gc(&context, &repository, &cache::Policy { ceiling: max_size, unused_for }, dry_run).await;
    }
    blocking(move || match verb {
        Verb::List => list(&context),
        Verb::Verify => verify(&context),
        Verb::Gc { forget, max_size, unused_for, .. } => {
            gc(&context, &forget, &Policy { ceiling: max_size, unused_for })
        }
    })
    .await
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Blob => "blob",
        Kind::Download => "download",
        Kind::Root => "rootfs",
        Kind::Overlay => "overlay",
        Kind::Unpacked => "unpacked",
        Kind::Listing => "listing",
        Kind::Record => "key",
        Kind::Passed => "test",
        Kind::Log => "log",
        Kind::Cache => "cache",
    }
}

fn list(context: &Context) -> Result<(), Failure> {
    let store = context.store()?;
    let mut entries = store.entries()?;
    entries.sort_by(|a, b| b.size.cmp(&a.size).then(a.digest.cmp(&b.digest)));
    if context.json() {
        let told = |entry: &Entry| {
            let (kind, needed_by) = (name(entry.kind), &entry.needed_by);
            let mut told = json!({ "kind": kind, "digest": entry.digest, "size": entry.size, "neededBy": needed_by });
            if entry.kind == Kind::Blob {
                told["twice"] = json!(entry.twice);
            }
            if entry.kind == Kind::Log {
                told["path"] = json!(entry.path);
            }
            told
        };
        show(json!({ "store": store.root(), "entries": entries.iter().map(told).collect::<Vec<_>>() }))?;
        return Ok(());
    }
    let now = SystemTime::now();
    let mut rows = vec![["size", "kind", "digest", "last used", "needed by"].map(str::to_owned).to_vec()];
    for entry in &entries {
        rows.push(vec![
            bytes(entry.size),
            if entry.twice { format!("{}, kept twice", name(entry.kind)) } else { name(entry.kind).into() },
            match entry.kind {
                Kind::Log => entry.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                _ => entry.digest.short(),
            },
            ago(now.duration_since(entry.last_used).unwrap_or_default()),
            entry.needed_by.join(" "),
        ]);
    }
    let sum = |counts: fn(&Entry) -> bool| entries.iter().filter(|entry| counts(entry)).map(|entry| entry.size).sum();
    let twice = match sum(|entry| entry.twice) {
        0 => String::new(),
        twice => format!(", {} of them layers whose wheels are here as well", bytes(twice)),
    };
    show(format_args!(
        "{}{} in {} files under {}{twice}",
        table(&rows, &[0]),
        bytes(sum(|_| true)),
        entries.len(),
        store.root().display()
    ))?;
    Ok(())
}

fn verify(context: &Context) -> Result<(), Failure> {
    let store = context.store()?;
    let total = store.entries()?.iter().filter(|entry| entry.kind.is_verifiable()).map(|entry| entry.size).sum();
    let task = context.progress().task(Activity::Verify, store.root().display().to_string(), Some(total));
    let verified = store.verify(&|bytes| task.advance(bytes))?;
    task.end("read");
    context.finish();
    if context.json() {
        let damaged = &verified.damaged;
        show(json!({ "files": verified.files, "bytes": verified.bytes, "damaged": damaged }))?;
    } else {
        for path in &verified.damaged {
            show(format_args!("damaged: {}", path.display()))?;
        }
        show(format_args!("{} files, {}, {} damaged", verified.files, bytes(verified.bytes), verified.damaged.len()))?;
    }
    match verified.damaged.len() {
        0 => Ok(()),
        count => Err(Failure::new(ExitKind::Integrity, format!("{count} files of the store were damaged"))
            .hint("they have been removed: the next build makes them anew")),
    }
}

fn gc(context: &Context, forget: &[Reference], policy: &Policy) -> Result<(), Failure> {
    let store = context.store()?;
    for name in forget {
        if !store.untag(&name.whole())? {
            return Err(Failure::new(ExitKind::Store, format!("the store has no {}", name.whole()))
                .hint("`dlpack images` shows its names"));
        }
    }
    let collected = store.gc(policy)?;
    if context.json() {
        let (removed, freed, kept) = (collected.removed.len(), collected.freed, collected.kept);
        show(json!({ "removed": removed, "leftovers": collected.leftovers, "freed": freed, "kept": kept }))?;
    } else {
        let (removed, leftovers) = (collected.removed.len(), collected.leftovers);
        let (freed, kept) = (bytes(collected.freed), bytes(collected.kept));
        show(format_args!("{removed} files and {leftovers} leftovers removed, {freed} freed, {kept} kept"))?;
    }
    Ok(())
}
