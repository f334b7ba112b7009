//! `dlpack doctor`: what this machine can do, and what to do where it can't.

mod gather;
mod show;

use std::process::ExitCode;

use super::context::{Context, config_directory};
use super::display;
use super::error::{ExitKind, Failure};
use crate::doctor::{self, Facts, Remedies, Severity};
use crate::gpu::Compatibility;

/// Say whether this machine can do what is asked of it, and what to do where it can't
///
/// Looks at the machine, at the store's filesystem, at the registry and at the GPU, and at what
/// the recipe wants of it. Writes nothing. Exits with 0 if all is well, with 12 if something is
/// lost, and with 13 if something does not work.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A registry to ask, or an image of one, such as the target of a push [default: the
    /// recipe's base's, or docker.io]
    #[arg(long = "registry", value_name = "REGISTRY")]
    registries: Vec<String>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Failure> {
    let shipped = Remedies::shipped()?;
    let own = config_directory().map(|directory| shipped.clone().with(&directory.join("remedies.toml")));
    // a doctor who is ill says so, and goes on
    let (remedies, unreadable_remedies) = match own {
        None => (shipped, None),
        Some(Ok(own)) => (own, None),
        Some(Err(error)) => (shipped, Some(Failure::from(error).in_one_line())),
    };
    let facts = Facts { unreadable_remedies, ..gather::facts(context, &arguments.registries).await? };
    let found = doctor::findings(&facts, Compatibility::shipped(), &remedies);
    context.finish();
    if context.json() {
        display::show(show::as_json(&facts, &found))?;
    } else {
        display::show(show::as_text(&found, context).trim_end())?;
    }
    Ok(match show::worst(&found) {
        Severity::Ok | Severity::Note => ExitCode::SUCCESS,
        Severity::Warning => ExitKind::Impaired.into(),
        Severity::Error => ExitKind::Unfit.into(),
    })
}
