//! `dlpack export`: an image in the form that another tool takes.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use serde_json::json;

use super::context::Context;
use super::display::show;
use super::error::Failure;
use super::{blocking, venv};
use crate::assemble;
use crate::export::{self, Destination, Document, Format, Image, Options, Stop};
use crate::layer::Compression;
use crate::registry::{Reference, Registries};
use crate::store::Store;

/// Write an image in the form that another tool takes
///
/// The image is pulled if the store hasn't got it. Blobs are verified as they are read;
/// the output has its name when it is whole, and is the same byte for byte each time.
/// Prints the digest of the image's manifest.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, disable_help_subcommand = true)]
#[command(
    override_usage = "dlpack export [OPTIONS] --output <PATH> <IMAGE>\n       dlpack export venv [OPTIONS] [DIR]"
)]
pub struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    whole: Option<Whole>,
}

#[derive(Debug, Subcommand)]
enum Part {
    Venv(venv::Arguments),
}

#[derive(Debug, clap::Args)]
struct Whole {
    /// The form [default: by the name's ending: `.tar` docker-archive, `.oci.tar` oci-archive, `.sqsh`, `.sqfs` and
    /// `.squashfs` squashfs, `.sif` sif]
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    format: Option<Format>,
    /// How a squashfs is compressed; kernels before 4.14 don't read zstd [default: gzip]
    #[arg(long, value_name = "HOW", value_parser = compressions())]
    compression: Option<Compression>,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
    /// The file or directory to write; `-` is stdout
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// The image, by tag or by digest
    #[arg(value_parser = super::reference)]
    image: Reference,
}

fn formats() -> impl clap::builder::TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(Format::name)).try_map(|name| {
        let known = Format::ALL.into_iter().find(|format| format.name() == name);
        known.ok_or("not a format")
    })
}

fn compressions() -> impl clap::builder::TypedValueParser<Value = Compression> {
    PossibleValuesParser::new([Compression::Gzip, Compression::Zstd].map(Compression::name))
        .map(|name| if name == Compression::Zstd.name() { Compression::Zstd } else { Compression::Gzip })
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let Some(Whole { format, compression, force, output: path, image: name }) = (match arguments.part {
        Some(Part::Venv(arguments)) => return venv::run(context, arguments).await,
        None => arguments.whole,
    }) else {
        return Err(Failure::usage("an image and --output are needed"));
    };
    let format = format.or_else(|| Format::of_name(&path)).ok_or_else(|| no_format(&path))?;
    let to_stdout = path == Path::new("-");
    let destination = if to_stdout { Destination::Stdout } else { Destination::Path { path: path.clone(), force } };
    destination.check(format)?;
    let (store, registries) = (context.store()?, context.registries()?);
    let _lease = store.lease()?;
    let image = image(context, &name, &store, &registries).await?;
    let digest = image.manifest.descriptor.digest;
    let options = Options { compression: compression.unwrap_or_default() };
    let (progress, stop) = (context.progress().clone(), Stop::default());
    let _given_up = GivenUp(stop.clone());
    let written =
        blocking(move || Ok(export::export(&image, format, options, &destination, &progress, &stop)?)).await?;
    context.finish();
    match (to_stdout, context.json()) {
        (true, _) => Ok(()),
        (_, true) => show(json!({ "digest": digest, "format": format.name(), "path": path, "bytes": written })),
        _ => show(digest),
    }
}

fn no_format(path: &Path) -> Failure {
    let names: Vec<&str> = Format::ALL.map(Format::name).to_vec();
    Failure::usage(&format!("the name {} says nothing of its format", path.display()))
        .hint(format!("give --format: {}", names.join(", ")))
}

/// The image, whose layers are brought into the store where it has not got them.
async fn image(context: &Context, name: &Reference, store: &Store, registries: &Registries) -> Result<Image, Failure> {
    let (platform, progress) = (context.platform(), context.progress());
    let image = assemble::bring(name, &platform, store, registries, progress).await?;
    assemble::complete(&image, name, store, registries, progress).await?;
    let config = image.manifest.config.clone();
    let config = Document { descriptor: config, bytes: image.config_bytes, value: image.config };
    let manifest = Document { descriptor: image.descriptor, bytes: image.bytes, value: image.manifest };
    Ok(Image::new(store.clone(), name.whole(), manifest, config)?)
}

/// Tells an export to stop when the command that waits for it is given up.
pub(super) struct GivenUp(pub(super) Stop);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.tell();
    }
}
