//! `dlpack plan`: which layers there will be, where each is, what will be sent.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::json;

use super::caching;
use super::context::{Context, Locked};
use super::display::{bytes, count, show, table};
use super::error::Failure;
use super::{limits, why};
use crate::plan::limits::{Exceeded, Limits};
use crate::plan::sending::Size;
use crate::plan::{Place, Places, Plan};
use crate::recipe::Base;
use crate::registry::{Reference, Repository};
use crate::store::Store;

/// Show the layers, where each of them is, and what will be built and sent
///
/// Builds nothing. With a target, asks its registry which layers it has.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where the image would be pushed: NAME:TAG as docker writes it
    #[arg(value_parser = super::reference)]
    target: Option<Reference>,
    /// Resolve the recipe anew first
    #[arg(long)]
    update: bool,
    /// Say which input made each layer new against the image that the target holds now, and how
    /// long the push will take
    #[arg(long, requires = "target")]
    why: bool,
    #[command(flatten)]
    caching: caching::Arguments,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let (store, registries) = (context.store()?, context.registries()?);
    let locked = context.locked(arguments.update, &store, &registries).await?;
    let target = arguments.target.as_ref().map(|reference| registries.repository(reference)).transpose()?;
    let caches = arguments.caching.caches(context, &locked.lock, &store, &registries, target.as_ref(), None)?;
    let places = Places { store: &store, target: target.as_ref(), caches: &caches };
    let host = Arc::new(context.host(&store)?);
    let plan = Plan::new(&locked.lock, &locked.directory, places, host).await?;
    let present = match &target {
        Some(target) => plan.present(target).await?,
        None => vec![false; plan.steps.len()],
    };
    let why = match &target {
        Some(target) if arguments.why => Some(why::ask(&plan, &locked, target, &present, &store, &registries).await?),
        _ => None,
    };
    let exceeded = target.as_ref().map(|target| exceeded(&plan, &locked, target, &present, &store)).transpose()?;
    let exceeded = exceeded.unwrap_or_default();
    context.finish();
    if context.json() {
        let mut json = as_json(&plan, &present);
        json["exceeded"] = json!(exceeded);
        json["pulls"] = json!(registries.pull_limits());
        if let Some(why) = why {
            json["why"] = why.json();
        }
        return show(json);
    }
    show(as_table(&plan, &present, target.as_ref(), &store, &locked.lock.recipe.base))?;
    if let Some(why) = why {
        show(format!("\n{}", why.text(&plan)))?;
    }
    if !context.verbose() {
        limits::pulls(&registries).iter().try_for_each(show)?;
    }
    exceeded.iter().for_each(|exceeded| context.progress().warn(limits::exceeded(exceeded)));
    Ok(())
}

/// What of the plan the target's registry would refuse.
fn exceeded(
    plan: &Plan,
    locked: &Locked,
    target: &Repository,
    present: &[bool],
    store: &Store,
) -> Result<Vec<Exceeded>, Failure> {
    let registry = target.reference().registry();
    let base_manifest = locked.lock.base.manifest.as_ref().map_or(0, |manifest| manifest.size);
    let rate = store.rate(&target.place().host)?;
    Ok(Limits::of(registry).exceeded(plan, present, base_manifest, registry, rate.as_ref()))
}

fn place(place: &Place, present: bool) -> Cow<'static, str> {
    let said = match place {
        Place::Store(_) if present => "in the store and the target",
        Place::Store(_) => "in the store",
        Place::Target(_) => "in the target",
        Place::Remote(_) if present => "in the target, by a record",
        Place::Remote(hit) => return format!("in {}", hit.repository.place()).into(),
        Place::Again(_, Some(other)) => return format!("in {}", other.place()).into(),
        Place::Again(_, None) => "to be made again",
        Place::Build => "to be built",
        Place::Sandbox => "to be built in the sandbox",
    };
    said.into()
}

/// Where a base is, and whether layers of it may have to go to `target`.
fn place_of_base(base: &Base, target: Option<&Repository>) -> (&'static str, bool) {
    match base {
        Base::Image(name) => {
            let from = name.parse::<Reference>().ok();
            let is_beside =
                from.zip(target).is_some_and(|(from, target)| from.registry() == target.reference().registry());
            ("in its registry", !is_beside)
        }
        Base::Layout { .. } => ("in its layout", true),
        Base::Archive(_) => ("made of packages", true),
        Base::Scratch => ("", false),
    }
}

fn as_table(plan: &Plan, present: &[bool], target: Option<&Repository>, store: &Store, base: &Base) -> String {
    let mut rows = vec![["layer", "what", "size", "key", "where"].map(str::to_owned).to_vec()];
    let (place_of_base, may_be_sent) = place_of_base(base, target);
    if !plan.base.is_empty() {
        let base = count(plan.base.len(), "layer");
        rows.push(vec!["base".into(), base, String::new(), String::new(), place_of_base.into()]);
    }
    for (step, &present) in plan.steps.iter().zip(present) {
        let Size { bytes: count, exact } = step.size();
        let size =
            if exact || count == 0 && step.needs.is_empty() { bytes(count) } else { format!("~{}", bytes(count)) };
        let key = step.known_key().map(|key| key.0.short()).unwrap_or_else(|| "-".into());
        rows.push(vec![step.layer.clone(), step.title(), size, key, place(&step.place, present).into_owned()]);
    }
    let fetch: u64 = plan.missing(store).iter().map(|need| need.size()).sum();
    let build = plan.steps.iter().filter(|step| step.place.record().is_none()).count();
    format!(
        "{}\n{} to build, {} to fetch, at most {} to send{}",
        table(&rows, &[2]),
        count(build, "layer"),
        bytes(fetch),
        bytes(plan.sending(present, target).bytes),
        if may_be_sent { " beside the base" } else { "" }
    )
}

fn as_json(plan: &Plan, present: &[bool]) -> serde_json::Value {
    let steps = plan.steps.iter().zip(present).map(|(step, present)| {
        json!({
            "layer": step.layer,
            "kind": step.inputs.kind(),
            "contents": step.inputs.contents(),
            "key": step.known_key(),
            "place": match step.place {
                Place::Store(_) => "store",
                Place::Target(_) => "target",
                Place::Remote(_) => "cache",
                Place::Again(..) => "again",
                Place::Build => "build",
                Place::Sandbox => "sandbox",
            },
            "inTarget": present,
            "record": step.place.record(),
        })
    });
    json!({ "base": plan.base, "layers": steps.collect::<Vec<_>>() })
}
