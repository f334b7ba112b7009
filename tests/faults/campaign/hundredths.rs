//! A reset and an end of stream at every hundredth of a blob, and at its first and last
//! byte, on its way here and on its way there.

use dlpack::registry::serve::{Fault, What};

use super::scene::{LAYER, Place, UPLOADS, layer_path};
use super::{Case, Tally, Way};

/// Runs every `step`th of the offsets at `place`.
pub fn run(place: &Place, way: Way, step: usize) -> Tally {
    let what = if way == Way::Pull { "a pull" } else { "a push" };
    let mut tally = Tally::new(format!("{}: {what} ends at a hundredth", place.name()));
    for offset in offsets().into_iter().step_by(step) {
        for (how, fault) in faults(way, offset) {
            tally.run(place, way, Case::survived(format!("{how} at byte {offset}"), vec![fault]));
        }
    }
    tally
}

/// Before and after the first byte, every hundredth, and before the last byte.
fn offsets() -> Vec<u64> {
    let hundredths = (1..100).map(|hundredth| LAYER / 100 * hundredth);
    [0, 1].into_iter().chain(hundredths).chain([LAYER - 1]).collect()
}

fn faults(way: Way, offset: u64) -> [(&'static str, Fault); 2] {
    let layer = layer_path();
    match way {
        Way::Pull => [
            ("a reset", Fault::on("GET", &layer, What::ResetAnswer(offset))),
            ("an end of stream", Fault::on("GET", &layer, What::BreakAnswer(offset))),
        ],
        Way::Push => [
            ("a reset", Fault::on("PUT", UPLOADS, What::ResetRequest(offset))),
            ("an end of stream", Fault::on("PUT", UPLOADS, What::BreakRequest(offset))),
        ],
    }
}
