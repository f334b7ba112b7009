//! Every fault of a registry, on pull and on push: what passes heals by asking
//! again, what stays gets its name; nothing wrong is kept, no credential goes
//! astray, and the next honest run succeeds. And those of the machine.

mod campaign;
mod credentials;
mod machine;
mod pulls;
mod pushes;

use dlpack::registry::Error;

use crate::support::shown::Shown;
use campaign::scene::{Failure, Place, Scene};
use campaign::{Case, Expected, Way, name_of};

/// Every case that is refused, at the embedded registry, as a person sees it.
fn show_refusals(way: Way, cases: Vec<Case>, snapshot: &str) {
    let mut shown = Shown::new();
    for Case { name, faults, expected, bounds } in cases {
        let scene = Scene::new(&Place::Embedded, way, faults, bounds);
        let failure = scene.go(way).expect_err(&name);
        let Expected::Refused(error) = expected else { panic!("{name} is to be survived") };
        assert_eq!(name_of(&failure), error, "{name}: {failure:?}");
        // A layer that is refused as too large goes in smaller and smaller parts first.
        let asked = scene.server().requests().len();
        assert!(asked < 60, "{name}: it was asked again and again, {asked} times");
        // Where a connection was seen to break is chance, and when there was too much.
        let chance = name == "blob: compressed"
            || matches!(&failure, Failure::Registry(error)
            if matches!(**error, Error::Http(_) | Error::Broken { .. }));
        if !chance || name.ends_with("in circles") {
            shown.replace(scene.address(), "REGISTRY");
            shown.add(&name, failure);
        }
    }
    shown.is(snapshot);
}
