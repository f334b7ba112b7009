//! Pulls from a registry, and from a line, that misbehave.

use std::io::Write as _;
use std::time::Duration;

use dlpack::oci::{Descriptor, media_type};
use dlpack::registry::serve::{Options, What};
use futures_util::TryStreamExt as _;

use super::campaign::cases::{on, pulls_that_fail, wait};
use super::campaign::scene::{Failure, LAYER, MANIFESTS, Place, Scene, UPLOADS, block_on, layer, layer_path};
use super::campaign::{Way, cases, hundredths};
use crate::support::shown::Shown;

#[test]
fn a_pull_survives_what_passes_and_names_what_stays() {
    cases::run(&Place::Embedded, Way::Pull).assert_all_right();
}

#[test]
fn a_pull_through_a_line_before_debians_registry_does_so_too() {
    cases::run(&Place::debian(), Way::Pull).assert_all_right();
}

#[test]
fn a_transfer_that_ends_at_a_hundredth_goes_on() {
    for way in [Way::Pull, Way::Push] {
        hundredths::run(&Place::Embedded, way, 3).assert_all_right();
        hundredths::run(&Place::debian(), way, 10).assert_all_right();
    }
}

#[test]
fn every_error_of_a_pull_says_what_was_wrong() {
    super::show_refusals(Way::Pull, pulls_that_fail(), "registries/pull");
}

#[test]
fn a_registry_is_left_alone_for_as_long_as_it_asks() {
    let pull = Scene::to_pull(Options::default());
    pull.server().set_faults(vec![on("GET", MANIFESTS, wait(429, "7"))]);
    assert_eq!(pull.pull().unwrap(), pull.image);
    assert_eq!(*pull.waits.lock().unwrap(), [Duration::from_secs(7)]);

    let push = Scene::to_push(Options::default());
    push.server().set_faults(vec![on("POST", UPLOADS, wait(503, "11")).after(1)]);
    assert_eq!(push.push().unwrap(), push.image);
    assert_eq!(*push.waits.lock().unwrap(), [Duration::from_secs(11)]);
}

#[test]
fn a_pull_that_breaks_off_again_and_again_says_how_far_it_got() {
    let fault = on("GET", &layer_path(), What::BreakAnswer(10_000)).always();
    let scene = Scene::to_pull(Options { faults: vec![fault], ..Options::default() });
    let Failure::Registry(error) = scene.pull().unwrap_err() else { panic!("the registry's") };
    let mut shown = Shown::new();
    shown.replace(scene.server().address().to_string(), "REGISTRY");
    shown.add_without_causes("broken off", *error);
    shown.is("registries/broken");
}

#[test]
fn a_pull_that_is_given_up_while_nothing_moves_leaves_nothing_behind() {
    let scene = Scene::to_pull(Options::default());
    scene.server().set_faults(vec![on("GET", &layer_path(), What::Stall(LAYER / 2))]);
    block_on(async {
        let repository = scene.repository("team/image");
        let mut writer = scene.local.writer().unwrap();
        let mut stream = repository.pull_blob(&Descriptor::of(media_type::LAYER_GZIP, layer()));
        while writer.written() < LAYER / 4 {
            writer.write_all(&stream.try_next().await.unwrap().unwrap()).unwrap();
        }
    });
    scene.assert_sound();
    assert_eq!(scene.pull().unwrap(), scene.image);
}
