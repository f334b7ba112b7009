//! Pushes to a registry, and over a line, that misbehave.

use dlpack::oci::Digest;
use dlpack::registry::serve::{Options, What};
use dlpack::store::Area;

use super::campaign::cases::{on, pushes_that_fail};
use super::campaign::scene::{LAYER, Place, Scene, UPLOADS, layer};
use super::campaign::{Way, cases, name_of};
use crate::support::shown::Shown;

#[test]
fn a_push_survives_what_passes_and_names_what_stays() {
    cases::run(&Place::Embedded, Way::Push).assert_all_right();
}

#[test]
fn a_push_over_a_line_before_debians_registry_does_so_too() {
    cases::run(&Place::debian(), Way::Push).assert_all_right();
}

#[test]
fn every_error_of_a_push_says_what_was_wrong() {
    super::show_refusals(Way::Push, pushes_that_fail(), "registries/push");
}

#[test]
fn an_upload_goes_where_its_location_says_in_whatever_form() {
    for (absolute, after) in [(false, "?state=a%2Fb"), (true, ""), (true, "?state=1&more=2")] {
        let scene = Scene::to_push(Options::default());
        let before = if absolute { format!("http://{}", scene.server().address()) } else { String::new() };
        let what = What::Location(before, after.to_owned());
        scene.server().set_faults(vec![
            on("POST", UPLOADS, what.clone()).always(),
            on("PUT", UPLOADS, What::BreakRequest(LAYER / 2)),
            on("GET", UPLOADS, what.clone()).always(),
            on("PATCH", UPLOADS, what).always(),
        ]);
        assert_eq!(scene.push().unwrap(), scene.image);
        let upload = scene.server().requests().into_iter().find(|request| request.method == "PUT").unwrap();
        assert!(upload.target.contains(after.trim_start_matches('?')), "{}", upload.target);
    }
}

#[test]
fn a_damaged_layer_is_not_pushed_and_is_dropped() {
    let scene = Scene::to_push(Options::default());
    let digest = Digest::of(layer());
    let path = scene.local.path(Area::Blobs, &digest);
    let mut bytes = layer().to_vec();
    bytes[1000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let failure = scene.push().unwrap_err();
    assert_eq!(name_of(&failure), "OriginStore", "{failure:?}");
    let mut shown = Shown::new();
    shown.replace(scene.local.root().display().to_string(), "STORE");
    shown.add("a damaged layer", failure);
    shown.add("a layer that was dropped", scene.push().unwrap_err());
    shown.is("registries/origins");
    assert!(!path.exists());
    assert_eq!(scene.remote.size(Area::Blobs, &digest), None);
    scene.local.put(Area::Blobs, layer()).unwrap();
    assert_eq!(scene.push().unwrap(), scene.image);
}
