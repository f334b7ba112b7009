//! `dlpack plan`: the shipped recipes, whole, on a base of the name that they have.

use serde_json::Value;

use crate::support::command::Dlpack;
use crate::support::image::{Form, debian_with_apt};
use crate::support::registry::DebianRegistry;

fn kinds_of(plan: &Value) -> Vec<&str> {
    plan["layers"].as_array().expect("layers").iter().map(|layer| layer["kind"].as_str().expect("a kind")).collect()
}

/// The layers that hold `wheel`, as what else is in each.
fn layer_of<'a>(plan: &'a Value, wheel: &str) -> &'a Vec<Value> {
    let holds = |layer: &&Value| {
        let contents = layer["contents"].as_array().expect("contents");
        contents.iter().any(|content| content["name"].as_str().is_some_and(|name| name.starts_with(wheel)))
    };
    let found = plan["layers"].as_array().expect("layers").iter().find(holds);
    found.unwrap_or_else(|| panic!("no layer holds {wheel}"))["contents"].as_array().expect("contents")
}

#[test]
fn each_shipped_recipe_is_locked_and_planned() {
    let registry = DebianRegistry::start();
    let cuda = "nvidia/cuda:12.4.1-cudnn-devel-ubuntu22.04";
    debian_with_apt().push("gzip", &registry, cuda, Form::Oci);
    let dlpack = Dlpack::with_docker_io(registry.address());
    let cases = [
        ("base", true, vec!["scipy ", "jupyterlab "]),
        ("torch", true, vec!["torch ", "nvidia-cudnn-cu12 ", "xgboost "]),
        ("rapids", true, vec!["torch ", "cudf-cu12 ", "cuml-cu12 ", "cupy-cuda12x ", "nvidia-dali-cuda120 "]),
        ("quickstart", true, vec!["numpy ", "jupyterlab "]),
    ];
    for (recipe, has_apt, big) in cases {
        dlpack.ok(["lock", "-r", recipe]);
        let plan = dlpack.json(["plan", "-r", recipe]);
        let kinds = kinds_of(&plan);
        for kind in ["venv", "wheels", "account", "sshd", "jupyter", "entrypoint"] {
            assert!(kinds.contains(&kind), "{recipe} has no {kind}: {kinds:?}");
        }
        assert_eq!(kinds.contains(&"apt"), has_apt, "{recipe}");
        for wheel in big {
            assert_eq!(layer_of(&plan, wheel).len(), 1, "{wheel}is a layer of its own in {recipe}");
        }
        let places = plan["layers"].as_array().expect("layers").iter().zip(&kinds);
        for (layer, kind) in places {
            if *kind == "apt" {
                let contents = layer["contents"].as_array().expect("contents");
                let brings =
                    |name: &str| contents.iter().any(|one| one["name"].as_str().unwrap_or_default().starts_with(name));
                assert!(brings("openssh-server 1:") && (recipe == "quickstart" || brings("tmux ")), "{layer}");
            }
            // an account is made on the account files that the apt layer leaves
            let expected = if ["apt", "account"].contains(kind) { "sandbox" } else { "build" };
            assert_eq!(layer["place"], expected, "{kind} in {recipe}");
        }
        assert!(kinds.len() < 100, "{recipe} has {} layers over the one of its base", kinds.len());
    }
    let table = dlpack.ok(["plan", "-r", "torch"]);
    assert!(table.contains("to be built in the sandbox"), "{table}");
}
