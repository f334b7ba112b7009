//! Recipes: what a person may write, what flavours and variables make of it, and
//! what is said about everything that is wrong.

use std::fs;
use std::path::Path;

use dlpack::recipe::{Base, IdSetting, LayerKind, Loaded, Recipe, Venv};
use tempfile::TempDir;

/// A directory with these files in it.
fn files(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

fn load(directory: &TempDir, settings: &[(&str, &str)]) -> Loaded {
    let settings: Vec<_> = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Recipe::load(&directory.path().join("dlpack.toml"), &settings).unwrap_or_else(|error| panic!("{error}"))
}

fn venv<'a>(loaded: &'a Loaded, name: &str) -> &'a Venv {
    match &loaded.recipe.layers.iter().find(|layer| layer.name == name).unwrap().kind {
        LayerKind::Venv(venv) => venv,
        other => panic!("{other:?}"),
    }
}

fn names(loaded: &Loaded) -> Vec<&str> {
    loaded.recipe.layers.iter().map(|layer| layer.name.as_str()).collect()
}

#[test]
fn each_shipped_recipe_loads_by_its_name() {
    for name in dlpack::recipe::shipped_names() {
        let loaded = Recipe::load(Path::new(name), &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(loaded.directory, Path::new("."));
        let python = venv(&loaded, "python");
        assert_eq!(python.path, "/opt/venv", "{name}");
        assert!(python.requirements.contains(&"jupyterlab".to_owned()), "{name}");
        loaded.check_files().unwrap();
    }
}

#[test]
fn rapids_has_what_torch_and_base_have() {
    let loaded = Recipe::load(Path::new("rapids"), &[("user".into(), "alice".into())]).unwrap();
    assert_eq!(names(&loaded), ["apt", "python", "account", "sshd", "jupyter", "timezone"]);
    assert_eq!(loaded.recipe.base, Base::Image("nvidia/cuda:12.4.1-cudnn-devel-ubuntu22.04".into()));
    let requirements = &venv(&loaded, "python").requirements;
    for package in ["jupyterlab", "xgboost<3.3", "torch==2.6.0", "cupy-cuda12x", "nvidia-dali-cuda120"] {
        assert!(requirements.contains(&package.to_owned()), "{package}");
    }
    let account = loaded.recipe.layers.iter().find_map(|layer| match &layer.kind {
        LayerKind::Account(account) => Some(account),
        _ => None,
    });
    assert_eq!(account.unwrap().user, "alice");
    assert_eq!(account.unwrap().uid, Some(IdSetting::Id(1000)));
}

#[test]
fn a_resolved_recipe_survives_the_way_through_toml() {
    for name in dlpack::recipe::shipped_names() {
        let recipe = Recipe::load(Path::new(name), &[]).unwrap().recipe;
        let text = toml::to_string(&recipe).unwrap();
        assert_eq!(toml::from_str::<Recipe>(&text).unwrap(), recipe, "{text}");
    }
}
