//! What `dlpack plan --why` adds: the input that made each layer new, and how much and how long
//! will be sent.

use std::time::Duration;

use serde_json::{Value, json};

use super::context::Locked;
use super::display::{bytes, count, seconds, table};
use super::error::Failure;
use crate::assemble;
use crate::lock::base;
use crate::plan::sending::{Size, of_base};
use crate::plan::why::{Before, Cause, Lines, Tells, Why, why};
use crate::plan::{Plan, Step};
use crate::registry::{Registries, Repository};
use crate::store::{Rate, Store};

/// How many causes of one layer are shown; all of them are in the JSON.
const SHOWN: usize = 12;

/// What there is to say of a plan beside the image that the target's tag holds now.
pub struct Answer {
    target: String,
    before: Option<Before>,
    why: Why,
    sending: Size,
    rate: Option<Rate>,
}

/// Looks at the image that `target` holds now. Fetches its manifest and config, and those of the
/// base if the store has them not.
pub async fn ask(
    plan: &Plan,
    locked: &Locked,
    target: &Repository,
    present: &[bool],
    store: &Store,
    registries: &Registries,
) -> Result<Answer, Failure> {
    let lock = &locked.lock;
    let image = assemble::describe_remote(target, &lock.platform, store).await;
    let before = match image {
        Ok(image) => {
            let own = assemble::Added::told_by(&image.manifest).map(|added| added.layers);
            Some(Before::of(image.descriptor.digest, &image.manifest, &image.config, own))
        }
        Err(error) if error.is_no_such_image() => None,
        Err(error) => return Err(error.into()),
    };
    let lines = Lines { recipe: &lock.recipe, sources: locked.sources.as_ref() };
    let why = before.as_ref().map(|before| why(plan, lock, before, &lines)).unwrap_or_default();
    let source = base::source(&lock.recipe.base, &locked.directory, registries, store)?;
    // What the image has is there, whatever else is known of it.
    let is_held = |at: usize| why.layers.get(at).is_some_and(Vec::is_empty);
    let held: Vec<bool> = present.iter().enumerate().map(|(at, present)| *present || is_held(at)).collect();
    let mut sending = plan.sending(&held, Some(target));
    if let Some(image) = base::load(&lock.base, source.as_ref(), store).await? {
        let from = source.as_ref().and_then(|source| source.repository());
        sending.bytes += of_base(&image.manifest.layers, from, target, before.as_ref()).await?;
    }
    let rate = store.rate(&target.place().host)?;
    Ok(Answer { target: target.reference().to_string(), before, why, sending, rate })
}

impl Answer {
    /// In words.
    pub fn text(&self, plan: &Plan) -> String {
        let mut text = String::new();
        match self.before.as_ref().map(|before| (before, before.tells)) {
            None => text += &format!("{} has no image yet: everything is new to it\n", self.target),
            Some((before, tells)) => {
                text += &format!("against {} ({}):\n", self.target, before.digest.short());
                match tells {
                    Tells::Inputs => {}
                    Tells::Layers => {
                        text += "an older dlpack made it, and did not record what its layers are made of\n"
                    }
                    Tells::Nothing => text += "dlpack did not make it: it does not tell what its layers are made of\n",
                }
                text += &table(&self.rows(plan, tells), &[]);
            }
        }
        text + &self.sum(plan)
    }

    fn rows(&self, plan: &Plan, tells: Tells) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        let row = |what: &str, cause: &Cause| {
            vec![what.to_owned(), cause.to_string(), cause.at().unwrap_or_default().to_owned()]
        };
        rows.extend(self.why.base.iter().map(|cause| row("base", cause)));
        if tells == Tells::Inputs {
            for (step, causes) in plan.steps.iter().zip(&self.why.layers).filter(|(_, causes)| !causes.is_empty()) {
                let name = label(step);
                let names = std::iter::once(name.as_str()).chain(std::iter::repeat(""));
                rows.extend(names.zip(causes).take(SHOWN).map(|(name, cause)| row(name, cause)));
                if let Some(more @ 1..) = causes.len().checked_sub(SHOWN) {
                    rows.push(vec![String::new(), format!("and {more} more"), String::new()]);
                }
            }
        }
        for gone in &self.why.gone {
            rows.extend(gone.causes.iter().take(SHOWN).map(|cause| row(&gone.layer, cause)));
            if !plan.steps.iter().any(|step| step.layer == gone.layer) && gone.causes.is_empty() {
                rows.push(vec![gone.layer.clone(), "is no longer there".into(), String::new()]);
            }
        }
        rows
    }

    fn sum(&self, plan: &Plan) -> String {
        let total = plan.steps.len();
        let new = match &self.before {
            Some(_) => self.why.layers.iter().filter(|causes| !causes.is_empty()).count(),
            None => total,
        };
        let about = if self.sending.exact { "" } else { "about " };
        let mut text = format!(
            "{} of {} new; the push will send {about}{}",
            new,
            count(total, "layer"),
            bytes(self.sending.bytes)
        );
        match &self.rate {
            Some(rate) if self.sending.bytes > 0 => {
                let per_second = bytes(rate.per_second() as u64);
                let span = match rate.span(self.sending.bytes) {
                    short if short < Duration::from_secs(1) => "less than a second".to_owned(),
                    span => seconds(span),
                };
                text += &format!(", in {span} at the {per_second}/s of the last push there");
            }
            None if self.sending.bytes > 0 => text += "; how fast its registry takes it no push has measured yet",
            _ => {}
        }
        text
    }

    /// For programs; the causes stand in the order of the plan's layers.
    pub fn json(&self) -> Value {
        let image = self.before.as_ref().map(|before| {
            json!({
                "digest": before.digest,
                "tells": match before.tells {
                    Tells::Inputs => "inputs",
                    Tells::Layers => "layers",
                    Tells::Nothing => "nothing",
                },
            })
        });
        let seconds = self.rate.as_ref().map(|rate| rate.span(self.sending.bytes).as_secs_f64());
        json!({
            "image": image,
            "base": self.why.base,
            "layers": self.why.layers,
            "gone": self.why.gone,
            "send": { "bytes": self.sending.bytes, "exact": self.sending.exact, "seconds": seconds },
        })
    }
}

fn label(step: &Step) -> String {
    let title = step.title();
    if title.starts_with(&step.layer) { title } else { format!("{} ({title})", step.layer) }
}
