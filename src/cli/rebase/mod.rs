//! `dlpack rebase`: an image on another base, its layers as they are.

mod outcome;

use std::path::PathBuf;
use std::sync::Arc;

use super::building::{Ends, Making};
use super::context::{Context, Locked};
use super::display::{bytes, show};
use super::error::Failure;
use super::sending;
use crate::assemble::{self, Work};
use crate::cache::Signer;
use crate::changeset::Told;
use crate::lock::{self, Lock};
use crate::oci::{Digest, media_type};
use crate::plan::{self, Plan};
use crate::rebase::{self, Fit, Upper};
use crate::recipe::Base;
use crate::registry::{Reference, Registries, Repository, Source};
use crate::store::{LayerRecord, Store};
use outcome::{Becomes, Outcome, Row, Sent};

/// Put an image's layers on another base, such as a newer patch release of its own
///
/// Builds nothing, and moves no layer but the base's, which are mounted where the registry does
/// that. Refuses, and says why, where a layer would not work there: another Python, an older C
/// library, packages or commands that saw the old base's files. With -r, layers of that kind are
/// made anew unless they are known on the new base; wheels stay as they are locked. The recipe
/// and its lock are left alone. Prints the new manifest's digest.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The image, which dlpack pushed: NAME:TAG as docker writes it
    #[arg(value_name = "IMAGE", value_parser = super::reference)]
    image: Reference,
    /// The base that it is to lie on, as a recipe would name it
    #[arg(long, value_name = "BASE", value_parser = super::reference)]
    onto: Reference,
    /// Where the result goes [default: IMAGE, whose tag then names it]
    #[arg(short, long, value_name = "TARGET", value_parser = super::reference)]
    tag: Option<Reference>,
    /// Say what would become of each layer, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Write the new base into the lock, too, once the image is pushed; the recipe must name it
    #[arg(long)]
    update_lock: bool,
    #[command(flatten)]
    making: Making,
    #[command(flatten)]
    sending: sending::Options,
    /// Sign the records that are written with this key: PEM, as `openssl genpkey -algorithm ed25519` writes it
    #[arg(long, value_name = "FILE", env = "DLPACK_SIGN_KEY")]
    sign_key: Option<PathBuf>,
}

/// What all ways of doing it start from.
struct Scene<'a> {
    context: &'a Context,
    arguments: &'a Arguments,
    store: Store,
    registries: Registries,
    /// Where the image is.
    from: Repository,
    image: Upper,
    /// Where the result goes.
    target: Repository,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let to = arguments.tag.as_ref().unwrap_or(&arguments.image);
    if to.digest().is_some() {
        return Err(Failure::usage("a digest names one image for ever: name a tag for the new one with --tag"));
    }
    if arguments.update_lock && !context.names_recipe() {
        return Err(Failure::usage("--update-lock writes the lock of a recipe: name it with -r"));
    }
    let store = context.store()?;
    let registries = context.registries_to_push(&store, &arguments.sending)?;
    let _lease = store.lease()?;
    let from = registries.repository(&arguments.image)?;
    let described = assemble::describe_remote(&from, &context.platform(), &store).await?;
    let image = Upper::of(&arguments.image, &described)?;
    let target = registries.repository(to)?;
    if from.is(&target) && is_index(&from, to.tag()).await? {
        let what = format!("{to} is an index: one image would take the place of all that it has");
        return Err(Failure::usage(&what).hint("name a tag for the result with --tag"));
    }
    let scene = Scene { context, arguments: &arguments, store, registries, from, image, target };
    let outcome = if context.names_recipe() { scene.with_recipe().await? } else { scene.alone().await? };
    scene.show(&outcome)
}

/// Whether `tag` names an index, which may have images for other machines, too.
async fn is_index(repository: &Repository, tag: Option<&str>) -> Result<bool, Failure> {
    let named = repository.has_manifest(tag.unwrap_or("latest")).await?;
    Ok(named.is_some_and(|named| media_type::normalised(&named.media_type) == media_type::INDEX))
}

impl Scene<'_> {
    /// The layers as they are: manifest and config are all that is written.
    async fn alone(&self) -> Result<Outcome, Failure> {
        let Self { context, store, registries, from, image, target, .. } = self;
        let name = self.arguments.onto.to_string();
        let host = Arc::new(context.host(store)?);
        let resolved = rebase::resolve(image, &name, registries, store, &host).await?;
        let base = resolved.locked.manifest.as_ref().map(|pin| pin.digest);
        let source = Source::Registry(Box::new(registries.repository(&self.arguments.onto)?));
        let rebased = assemble::rebase(image.appendix()?, resolved, source)?;
        let sent = if self.arguments.dry_run {
            Sent::Would(rebased.missing(from, target).await?)
        } else {
            let pushed = rebased.push(from, target, store, context.progress()).await?;
            store.tag(&target.reference().whole(), &rebased.image.descriptor)?;
            Sent::Pushed(pushed)
        };
        let row = |layer: &rebase::Layer| Row {
            layer: layer.name.clone(),
            title: layer.title.clone(),
            becomes: Becomes::Kept,
        };
        Ok(Outcome {
            digest: Some(rebased.image.descriptor.digest),
            base,
            base_layers: rebased.image.base_layers,
            layers: image.layers.iter().map(row).collect(),
            built: 0,
            sent,
        })
    }

    /// The lock on the other base, and then as any push: what is known is not made.
    async fn with_recipe(&self) -> Result<Outcome, Failure> {
        let Self { context, arguments, store, registries, image, target, .. } = self;
        let name = arguments.onto.to_string();
        let (locked, of_recipe) = context.fitting_but_for_the_base()?;
        if arguments.update_lock && !is_image(&of_recipe, &arguments.onto) {
            let what = format!("the recipe's `base` is not {name}: its lock can't have that");
            return Err(Failure::usage(&what).hint(format!("write `base = \"{name}\"` into the recipe, and try again")));
        }
        let Locked { lock, directory, sources, tests } = locked;
        image.is_of(&plan::unasked(&lock, &directory, store)?, &lock.base.diff_ids)?;
        let host = Arc::new(context.host(store)?);
        let base = if arguments.update_lock { of_recipe } else { Base::Image(name.clone()) };
        let (lock, files) = lock::onto(&lock, base, &directory, registries, store, &host).await?;
        let locked = Locked { lock, directory, sources, tests };
        if let Some(files) = &files {
            check(&Fit { base: &name, platform: &locked.lock.platform, files }, &locked, store)?;
        }
        let signer = arguments.sign_key.as_deref().map(Signer::read).transpose()?;
        let dry_run = arguments.dry_run;
        let assemble = async |work: &Work<'_>, plan: &Plan| -> Result<Outcome, Failure> {
            if dry_run { self.rehearsal(plan, &locked.lock).await } else { self.pushed(work, plan).await }
        };
        let ends = Ends { target: Some(target), from: Some(&self.from), signer };
        let outcome = arguments.making.build(context, &locked, store, registries, ends, assemble).await?;
        if arguments.update_lock && !dry_run {
            context.write_lock(&locked.lock)?;
        }
        Ok(outcome)
    }

    async fn pushed(&self, work: &Work<'_>, plan: &Plan) -> Result<Outcome, Failure> {
        let (built, pushed) = assemble::push(work, plan, &self.target, false, None).await?;
        self.store.tag(&self.target.reference().whole(), &built.image.descriptor)?;
        let row = |(layer, step): (&assemble::Appended, &plan::Step)| Row {
            layer: step.layer.clone(),
            title: layer.title.clone(),
            becomes: self.becomes(Some(&layer.record)),
        };
        Ok(Outcome {
            digest: Some(built.image.descriptor.digest),
            base: base_of(work.lock),
            base_layers: built.image.base_layers,
            layers: built.layers.iter().zip(&plan.steps).map(row).collect(),
            built: built.written,
            sent: Sent::Pushed(pushed),
        })
    }

    async fn rehearsal(&self, plan: &Plan, lock: &Lock) -> Result<Outcome, Failure> {
        let present = plan.present(&self.target).await?;
        let row = |step: &plan::Step| Row {
            layer: step.layer.clone(),
            title: step.title(),
            becomes: self.becomes(step.place.record()),
        };
        Ok(Outcome {
            digest: None,
            base: base_of(lock),
            base_layers: plan.base.len(),
            layers: plan.steps.iter().map(row).collect(),
            built: 0,
            sent: Sent::Would(plan.sending(&present, Some(&self.target)).bytes),
        })
    }

    /// What a layer becomes that is known as `record`.
    fn becomes(&self, record: Option<&LayerRecord>) -> Becomes {
        match record {
            Some(record) if record.parts().all(|part| self.image.has(&part.descriptor.digest)) => Becomes::Kept,
            Some(_) => Becomes::Replaced,
            None => Becomes::ToBeMade,
        }
    }

    fn show(&self, outcome: &Outcome) -> Result<(), Failure> {
        let Self { context, arguments, target, .. } = self;
        context.finish();
        if context.json() {
            return show(outcome.json(arguments));
        }
        match (&outcome.sent, outcome.digest) {
            (Sent::Would(most), _) => {
                show(outcome.table(arguments))?;
                show(format!("\nat most {} to send, besides manifest and config", bytes(*most)))?;
            }
            (Sent::Pushed(pushed), Some(digest)) => {
                if !context.quiet() {
                    eprintln!("{}: {}", target.reference(), outcome.text(arguments, pushed));
                }
                show(digest)?;
            }
            (Sent::Pushed(_), None) => {}
        }
        Ok(())
    }
}

/// Checks that what `locked` puts over its base works on it.
fn check(fit: &Fit<'_>, locked: &Locked, store: &Store) -> Result<(), Failure> {
    let steps = plan::unasked(&locked.lock, &locked.directory, store)?;
    let told: Vec<(String, Told)> = steps.iter().map(|step| (step.title(), step.inputs.told(None))).collect();
    let layers: Vec<(&str, &str, &Told)> =
        steps.iter().zip(&told).map(|(step, (title, told))| (step.layer.as_str(), title.as_str(), told)).collect();
    Ok(fit.check(&layers)?)
}

/// Whether a recipe's base is the image that `reference` names.
fn is_image(base: &Base, reference: &Reference) -> bool {
    matches!(base, Base::Image(name) if name.parse::<Reference>().is_ok_and(|named| named.whole() == reference.whole()))
}

/// The manifest of the locked base.
fn base_of(lock: &Lock) -> Option<Digest> {
    lock.base.manifest.as_ref().map(|pin| pin.digest)
}
