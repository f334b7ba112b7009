//! The order of a Dockerfile's layers, where a recipe has one of its own: an apt layer does
//! not see an account that is assembled, so accounts come after it.

use super::draft::{Account, Draft, Kind, Layer, Part, Run};

/// Where the first account is made.
pub(super) fn first_account(draft: &Draft) -> Option<usize> {
    draft.parts.iter().position(|part| kind(part).is_some_and(|kind| matches!(kind, Kind::Account(_))))
}

/// Moves apt layers before the accounts that they follow. Where a step stands between, which
/// may need the account and be needed by the packages, the account is made by a step. Returns
/// where the part `at` is then.
pub(super) fn apt_before_accounts(draft: &mut Draft, mut at: usize) -> usize {
    let mut next = 0;
    while let Some(found) = draft.parts[next..].iter().position(|part| matches!(kind(part), Some(Kind::Apt(_)))) {
        let apt = next + found;
        next = apt + 1;
        let Some(first) = first_account(draft).filter(|first| *first < apt) else { continue };
        if draft.parts[first..apt].iter().any(|part| matches!(kind(part), Some(Kind::Run(_)))) {
            draft.parts[first..apt].iter_mut().for_each(by_step);
        } else {
            draft.parts[first..=apt].rotate_right(1);
            at += usize::from((first..apt).contains(&at));
        }
    }
    forget(draft);
    at
}

fn kind(part: &Part) -> Option<&Kind> {
    match part {
        Part::Layer(layer) => Some(&layer.kind),
        Part::Note(_) => None,
    }
}

/// Lets a step make the account, if the part makes one.
fn by_step(part: &mut Part) {
    let Part::Layer(Layer { name, kind, .. }) = part else { return };
    let Kind::Account(Account { command, .. }) = kind else { return };
    name.get_or_insert_with(|| "account".into());
    *kind = Kind::Run(Run { command: std::mem::take(command), ..Run::default() });
}

/// Steps name the layers that they see: those that are no longer assembled, they see anyway.
fn forget(draft: &mut Draft) {
    let assembled = draft.assembled();
    for part in &mut draft.parts {
        if let Part::Layer(Layer { kind: Kind::Run(run), .. }) = part {
            run.sees.retain(|name| assembled.contains(name));
        }
    }
}
