//! What `dlpack init` writes is not only accepted: it is locked against the machine's package
//! index and planned, and that of a Dockerfile is built into an image that is as the file says.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::read;
use crate::support::command::Dlpack;
use crate::support::image::{Form, Layout, debian};
use crate::support::registry::DebianRegistry;
use crate::support::{tiny, wheel};

/// A registry in place of docker.io that has the tiny base as `python:3.12-slim`, and a home.
fn on_tiny() -> (DebianRegistry, Dlpack) {
    let (registry, directory) = (DebianRegistry::start(), tempfile::tempdir().expect("a directory"));
    tiny::layout(directory.path());
    Layout::at(directory.path().join("base")).push("base", &registry, "library/python:3.12-slim", Form::Oci);
    let dlpack = Dlpack::with_docker_io(registry.address());
    (registry, dlpack)
}

/// Locks and plans the recipe; names and versions of the packages that it locked.
fn locked(dlpack: &Dlpack) -> Vec<String> {
    dlpack.ok(["lock"]);
    let plan = dlpack.ok(["plan"]);
    assert!(plan.contains("account") && plan.contains("in its registry"), "{plan}");
    let lock: toml::Table = read(dlpack, "dlpack.lock").parse().expect("TOML");
    let layers = lock["layer"].as_array().expect("layers");
    let venv = layers.iter().find(|layer| layer["kind"].as_str() == Some("venv")).expect("a venv");
    let text = |wheel: &toml::Value, key: &str| wheel[key].as_str().expect("a string").to_owned();
    let wheels = venv["wheel"].as_array().expect("wheels").iter();
    wheels.map(|wheel| format!("{} {}", text(wheel, "name"), text(wheel, "version"))).collect()
}

#[test]
fn a_project_locks_with_the_extras_and_groups_that_are_asked_for() {
    let (_registry, dlpack) = on_tiny();
    dlpack.write(
        "pyproject.toml",
        "[project]\nname = \"p\"\nversion = \"1\"\nrequires-python = \">=3.9\"\ndependencies = [\"idna==3.10\"]\n\
         [project.optional-dependencies]\nnet = [\"certifi==2024.8.30\"]\nother = [\"tqdm\"]\n\
         [dependency-groups]\ncli = [\"click==8.1.7\"]\ntest = [{ include-group = \"cli\" }, \"six==1.16.0\"]\nlint = [\"tqdm\"]\n",
    );
    dlpack.ok(["init", "--extra", "net", "--group", "Test"]);
    assert_eq!(locked(&dlpack), ["certifi 2024.8.30", "click 8.1.7", "idna 3.10", "six 1.16.0"]);
    let recipe = read(&dlpack, "dlpack.toml");
    for rest in ["# pyproject.toml: `init --extra other` adds\n", "# pyproject.toml: `init --group lint` adds\n"] {
        assert!(recipe.contains(rest), "{recipe}");
    }
    dlpack.ok(["init", "--force"]);
    assert_eq!(locked(&dlpack), ["idna 3.10"]);
}

#[test]
fn a_conda_environment_locks_from_the_package_index() {
    let (_registry, dlpack) = on_tiny();
    dlpack.write(
        "environment.yml",
        "name: e\nchannels: [conda-forge]\ndependencies:\n  - python=3.12\n  - click=8.1.7\n  - ffmpeg\n  - pip:\n      \
         - idna==3.10\nvariables:\n  PRICE: $5 for $HOME\n",
    );
    dlpack.ok(["init"]);
    assert_eq!(locked(&dlpack), ["click 8.1.7", "idna 3.10"]);
    assert!(read(&dlpack, "dlpack.toml").contains("environment.yml:6: ffmpeg"));
    let config = dlpack.config_of(&dlpack.ok(["build"]))["config"].clone();
    let env = config["Env"].as_array().expect("a list");
    assert!(env.contains(&json!("PRICE=$5 for $HOME")), "{env:?}");
}

#[test]
fn a_project_of_poetry_locks_in_the_words_of_pypa() {
    let (_registry, dlpack) = on_tiny();
    dlpack.write(
        "pyproject.toml",
        "[tool.poetry]\nname = \"p\"\nversion = \"1\"\n[tool.poetry.dependencies]\npython = \"^3.9\"\nidna = \"~3.10\"\n\
         click = { version = \"8.1.7\", optional = true }\n[tool.poetry.extras]\ncli = [\"click\"]\n\
         [tool.poetry.group.dev.dependencies]\nsix = \"1.16.0\"\n[tool.poetry.group.docs.dependencies]\ntqdm = \"*\"\n",
    );
    dlpack.ok(["init", "--extra", "cli", "--group", "dev"]);
    assert_eq!(locked(&dlpack), ["click 8.1.7", "idna 3.10", "six 1.16.0"]);
}

/// Adds the layer of the small Debian, as it lies in its layout, to an image of another.
fn debian_in(layout: &Layout) -> (Value, String) {
    let from = debian();
    let json = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).expect("read")).expect("JSON") };
    let index = json(&from.path().join("index.json"));
    let tagged = |manifest: &&Value| manifest["annotations"]["org.opencontainers.image.ref.name"] == "gzip";
    let manifest = index["manifests"].as_array().expect("a list").iter().find(tagged).expect("the tag");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let manifest = json(&from.blob(&text(&manifest["digest"])));
    let config = json(&from.blob(&text(&manifest["config"]["digest"])));
    let layer = &manifest["layers"][0];
    let digest = text(&layer["digest"]);
    fs::copy(from.blob(&digest), layout.blob(&digest)).expect("copied");
    (layer.clone(), text(&config["rootfs"]["diff_ids"][0]))
}

/// A registry in place of docker.io that has the small Debian as `python:VERSION-slim`, and a home of
/// a user who has nothing.
fn on_debian(version: &str) -> (DebianRegistry, Dlpack) {
    let (registry, directory) = (DebianRegistry::start(), tempfile::tempdir().expect("a directory"));
    let layout = Layout::create(directory.path().join("layout"));
    let (layer, diff_id) = debian_in(&layout);
    let path = "PATH=/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let image = layout.image().with_layers(|layers, diff_ids| {
        layers.push(layer);
        diff_ids.push(diff_id);
    });
    let environment = json!([path, "LD_LIBRARY_PATH=/base/lib"]);
    image.config(|config| config["config"] = json!({ "Env": environment, "Cmd": ["python3"] })).tagged("base");
    layout.push("base", &registry, &format!("library/python:{version}-slim"), Form::Oci);
    let dlpack = Dlpack::unprivileged_on(&debian());
    dlpack.mirror_docker_io(registry.address());
    (registry, dlpack)
}

#[test]
fn the_image_of_a_dockerfile_is_as_the_file_says() {
    let version = wheel::python();
    let (_registry, dlpack) = on_debian(version);
    dlpack.write(
        "Dockerfile",
        &format!(
            r#"ARG VERSION={version}
FROM python:${{VERSION}}-slim
ARG GREETING=hello
ENV GREETING=$GREETING \
    # what the base has stays
    LD_LIBRARY_PATH=/opt/lib:$LD_LIBRARY_PATH
ENV PATH="/opt/tools/bin:$PATH" PRICE='$5'
LABEL org.example.team="data science"
# where an image of python has its own
RUN ln -s /usr/bin/python{version} /usr/local/bin/python{version}
WORKDIR /srv/app
RUN if true; then mkdir -p data/v1 /opt/tools/bin; fi; ln -s data/v1 current
COPY greet.py current
COPY --chown=1500:1500 settings.ini data
COPY --chmod=0755 <<"EOF" /opt/tools/bin/greet
#!/bin/sh
exec python /srv/app/current/greet.py "$@"
EOF
RUN useradd -m -u 1500 -s /bin/bash worker
RUN pip install --no-cache-dir idna==3.10
RUN python -c "import idna; print(idna.__version__)" > data/version && chown worker data/version
USER worker
EXPOSE 8080 9000/udp
ENTRYPOINT ["greet"]
CMD ["world"]
"#
        ),
    );
    let greet = "import idna, os, sys\nprint(os.environ['GREETING'], *sys.argv[1:], os.getcwd(), os.getuid(), idna.__version__)\n";
    dlpack.write("greet.py", greet);
    dlpack.write("settings.ini", "[a]\n");
    dlpack.ok(["init"]);
    let digest = dlpack.ok(["build"]);
    let config = dlpack.config_of(&digest)["config"].clone();
    let env: Vec<&str> = config["Env"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    for variable in ["GREETING=hello", "LD_LIBRARY_PATH=/opt/lib:/base/lib", "PRICE=$5"] {
        assert!(env.contains(&variable), "{variable} is not in {env:?}");
    }
    assert!(env.iter().any(|line| line.starts_with("PATH=/opt/tools/bin:/opt/venv/bin:/usr/local/bin:")), "{env:?}");
    assert_eq!((&config["WorkingDir"], &config["User"]), (&json!("/srv/app"), &json!("worker")));
    assert_eq!((&config["Entrypoint"], &config["Cmd"]), (&json!(["greet"]), &json!(["world"])));
    assert_eq!(config["ExposedPorts"], json!({ "8080/tcp": {}, "9000/udp": {} }));
    assert_eq!(config["Labels"]["org.example.team"], "data science");

    assert_eq!(dlpack.ok(["run", "--quiet"]), "hello world /srv/app 1500 3.10");
    let script = "cat data/version; readlink current; cd data; stat -c '%n %a' version v1/greet.py settings.ini";
    let listed = dlpack.ok(["run", "--quiet", "--entrypoint", "/bin/sh", "--", "-c", script]);
    assert_eq!(listed, "3.10\ndata/v1\nversion 644\nv1/greet.py 644\nsettings.ini 644");
    let owners = owners(&dlpack, &digest);
    for (path, owner) in [("version", 1500), ("v1", 0), ("v1/greet.py", 0), ("settings.ini", 1500)] {
        assert_eq!(owners.get(&format!("srv/app/data/{path}")), Some(&owner), "{path}");
    }
}

/// The paths of the layers over the base's, each with its owner.
fn owners(dlpack: &Dlpack, digest: &str) -> BTreeMap<String, u64> {
    let mut owners = BTreeMap::new();
    for layer in &dlpack.layers_of(digest)[1..] {
        let blob = flate2::read::MultiGzDecoder::new(fs::File::open(dlpack.blob(layer)).expect("a blob"));
        for entry in tar::Archive::new(blob).entries().expect("entries") {
            let entry = entry.expect("an entry");
            let path = entry.path().expect("a path").to_string_lossy().trim_end_matches('/').to_owned();
            owners.insert(path, entry.header().uid().expect("an owner"));
        }
    }
    owners
}
