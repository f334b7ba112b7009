//! GPUs in containers: those of made-up machines, as CDI or the driver itself tells of them, and
//! by `scripts/gpu` real ones.

#[path = "gpu/real.rs"]
mod real;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use dlpack::gpu::{self, Error, Module, Root};
use dlpack::sandbox::Rootfs;

use crate::support::command::Dlpack;
use crate::support::image::{Layout, Packing};
use crate::support::machine::{DRIVER, LIBRARIES, Machine, UUIDS};
use crate::support::sandbox::{Bench, UID};
use crate::support::shown::Shown;
use crate::support::tiny;

/// What ldconfig(8) says of a library of this machine's kind.
const ABI: &str = if cfg!(target_arch = "aarch64") { "libc6,AArch64" } else { "libc6,x86-64" };

/// An image of a shell, with ldconfig(8) or without, and these variables.
fn image(dlpack: &Dlpack, ldconfig: bool) {
    let mut tar = tiny::tar().file("etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n");
    if ldconfig {
        // Ubuntu's ldconfig is a shell script around it
        let program = fs::read("/sbin/ldconfig.real").or_else(|_| fs::read("/sbin/ldconfig"));
        tar = tar.owned_file("sbin/ldconfig", 0o755, (0, 0), program.expect("libc-bin"));
    }
    Layout::create(dlpack.work().join("base")).image().layer(Packing::Gzip, tar).tagged("base");
}

/// What `dlpack run` prints of a shell's script on `machine`, and what it says beside.
#[track_caller]
fn says(dlpack: &Dlpack, machine: &Machine, options: &[&str], script: &str) -> (String, String) {
    let arguments = [&["run"], options, &["oci:base", "sh", "-c", script]].concat();
    let mut command = dlpack.command(arguments);
    let ran = command.env("DLPACK_DRIVER_ROOT", machine.root()).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    (text(&ran.stdout), text(&ran.stderr))
}

/// What a container of an image with these variables is given.
fn devices(machine: &Machine, gpus: Option<&str>, env: &[(&str, &str)]) -> Result<gpu::Given, Error> {
    let env: BTreeMap<_, _> = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    gpu::devices(&Root::new(machine.root()), gpus, &env, &Rootfs::default())
}

/// Where it is given something of the machine.
fn places(given: &gpu::Given) -> Vec<&str> {
    let mut places: Vec<&str> = given.devices.mounts.iter().map(|mount| mount.to.as_str()).collect();
    places.sort_unstable();
    places
}

#[test]
fn the_facts_of_a_machine() {
    let machine = Machine::with_driver();
    for (name, content) in [("vendor", "0x10de\n"), ("class", "0x030200\n"), ("device", "0x20b0\n")] {
        machine.write(&format!("/sys/bus/pci/devices/0000:17:00.0/{name}"), content);
    }
    machine.program("nvidia-ctk", "");
    machine.write("/etc/cdi/broken.json", "{");
    let facts = gpu::facts(machine.root());
    let driver = facts.driver.expect("a driver");
    assert_eq!((driver.version.to_string().as_str(), driver.module), (DRIVER, Module::Open));
    assert_eq!(driver.cuda().map(|cuda| cuda.to_string()).as_deref(), Some("12.4"));
    let gpus =
        facts.gpus.iter().map(|gpu| (gpu.index, gpu.uuid.as_deref(), gpu.minor, gpu.compute_capability.as_deref()));
    let expected = [(0, Some(UUIDS[0]), Some(1), Some("8.0")), (1, Some(UUIDS[1]), Some(0), None)];
    assert_eq!(gpus.collect::<Vec<_>>(), expected);
    assert_eq!(facts.cards.iter().map(|card| card.device.as_str()).collect::<Vec<_>>(), ["0x20b0"]);
    assert_eq!(facts.libraries.len(), 3, "{:?}", facts.libraries);
    assert_eq!(facts.toolkit.as_deref(), Some(Path::new("/usr/bin/nvidia-ctk")));
    assert!(matches!(facts.cdi[..], [gpu::Specification { devices: Err(Error::Malformed { .. }), .. }]));
    let none = gpu::facts(Machine::bare().root());
    assert!(none.driver.is_none() && none.gpus.is_empty() && none.cards.is_empty() && none.toolkit.is_none());
}

#[test]
fn a_container_has_the_devices_libraries_and_programs_of_the_driver() {
    let (dlpack, machine) = (Dlpack::unprivileged(), Machine::with_driver());
    image(&dlpack, true);
    let script = format!(
        "cat /dev/nvidia*; nvidia-smi; echo $NVIDIA_VISIBLE_DEVICES ${{LD_LIBRARY_PATH-none}}; \
         /sbin/ldconfig -p | grep libcuda; cd {LIBRARIES}; ls -d libnv* libcuda*; \
         LD_PRELOAD=libcuda.so.1:libnvidia-ml.so.1 sh -c 'echo loaded' 2>&1"
    );
    let expected = format!(
        "/dev/nvidia-modeset\n/dev/nvidia-uvm\n/dev/nvidia-uvm-tools\n/dev/nvidia0\n/dev/nvidia1\n/dev/nvidiactl\n\
         it runs\nall none\n\
         \tlibcuda.so.1 ({ABI}) => {LIBRARIES}/libcuda.so.1\n\
         \tlibcuda.so ({ABI}) => {LIBRARIES}/libcuda.so\n\
         libcuda.so\nlibcuda.so.1\nlibcuda.so.{DRIVER}\nlibnvidia-ml.so.1\nlibnvidia-ml.so.{DRIVER}\nloaded"
    );
    for options in [&["--gpus", "all"][..], &["--gpus", "all", "--user", "worker", "--read-only"]] {
        assert_eq!(says(&dlpack, &machine, options, &script).0, expected, "{options:?}");
    }
    let one = "cat /dev/nvidia?; echo $NVIDIA_VISIBLE_DEVICES";
    for name in ["1", UUIDS[1], "GPU-77e2", "0000:65:00.0", "device=1"] {
        let expected = format!("/dev/nvidia0\n{}", UUIDS[1]);
        assert_eq!(says(&dlpack, &machine, &["--gpus", name], one).0, expected, "{name}");
    }
    let nothing = ("none".to_owned(), String::new());
    assert_eq!(says(&dlpack, &machine, &["-q"], "ls /dev/nvidia* >/dev/null 2>&1 || echo none"), nothing);
    // without ldconfig(8) the loader has a variable, and what was in it
    image(&dlpack, false);
    let script = "echo $LD_LIBRARY_PATH; LD_PRELOAD=libcuda.so.1 sh -c 'echo loaded' 2>&1";
    let expected = format!("/own:{LIBRARIES}\nloaded");
    assert_eq!(says(&dlpack, &machine, &["--gpus", "0", "-e", "LD_LIBRARY_PATH=/own"], script).0, expected);
}

#[test]
fn what_a_person_mounts_is_left_as_it_was() {
    let (dlpack, machine) = (Dlpack::unprivileged(), Machine::with_driver());
    image(&dlpack, true);
    let mounted = ["lib", "etc", "driver"].map(|name| dlpack.work().join(name));
    for directory in &mounted {
        fs::create_dir(directory).expect("created");
        let kept = directory.join("libcuda.so.1");
        fs::write(&kept, "mine").expect("written");
        for path in [directory, &kept] {
            std::os::unix::fs::chown(path, Some(UID), Some(UID)).expect("root may chown");
        }
    }
    let script = "cat /usr/local/lib/libcuda.so.1 /etc/libcuda.so.1 && nvidia-smi";
    let binds = ["--gpus", "all", "-v", "./lib:/usr/local/lib", "-v", "./etc:/etc", "--user", "0"];
    assert_eq!(says(&dlpack, &machine, &binds, script).0, "minemineit runs");
    let over = format!("./driver:{LIBRARIES}:ro");
    let hidden = ["--gpus", "all", "-v", &over, "-v", "./etc:/etc", "--user", "0"];
    assert_eq!(says(&dlpack, &machine, &hidden, &format!("cat {LIBRARIES}/*")).0, "mine");
    for directory in &mounted {
        let names: Vec<_> =
            fs::read_dir(directory).expect("read").map(|entry| entry.expect("one").file_name()).collect();
        assert_eq!(names, ["libcuda.so.1"], "{}", directory.display());
        assert_eq!(fs::read_to_string(directory.join("libcuda.so.1")).expect("text"), "mine");
    }
}

#[test]
fn what_an_image_asks_for_is_given_where_it_can_be() {
    let machine = Machine::with_driver();
    let visible = |value| ("NVIDIA_VISIBLE_DEVICES", value);
    let has = |gpus: Option<&str>, env: &[(&str, &str)]| {
        let given = devices(&machine, gpus, env).expect("given");
        let gpus =
            places(&given).into_iter().filter_map(|place| place.strip_prefix("/dev/nvidia")?.parse::<u32>().ok());
        (gpus.collect::<Vec<_>>(), given.warnings.len())
    };
    assert_eq!(has(None, &[]), (vec![], 0));
    assert_eq!(has(None, &[visible("all")]), (vec![0, 1], 0));
    assert_eq!(has(None, &[visible("0")]), (vec![1], 0));
    assert_eq!(has(None, &[visible("void")]), (vec![], 0));
    // what a person says comes first
    assert_eq!(has(Some("none"), &[visible("all")]), (vec![], 0));
    assert_eq!(has(Some("1"), &[visible("all")]), (vec![0], 0));
    // in a container that has one of them, the driver tells of both
    machine.remove("/dev/nvidia1");
    assert_eq!(has(Some("all"), &[]), (vec![0], 0));
    assert_eq!(has(Some("0"), &[]), (vec![0], 0));
    assert!(matches!(devices(&machine, Some(UUIDS[0]), &[]), Err(Error::Unknown { .. })));
    // nobody asked for what can't be had
    assert_eq!(has(None, &[visible("7")]), (vec![], 1));
    assert_eq!(has(None, &[visible("all"), ("NVIDIA_REQUIRE_CUDA", "cuda>=12.6")]), (vec![], 1));
    assert_eq!(devices(&Machine::bare(), None, &[visible("all")]).expect("nothing"), gpu::Given::default());
}

#[test]
fn an_image_has_of_the_driver_what_it_needs() {
    let machine = Machine::with_driver();
    let libraries = |capabilities: &str| {
        let given = devices(&machine, Some("all"), &[("NVIDIA_DRIVER_CAPABILITIES", capabilities)]).expect("given");
        let names = places(&given).into_iter().filter_map(|place| place.strip_prefix(LIBRARIES)?.strip_prefix('/'));
        let names: Vec<_> = names.filter_map(|name| name.split_once(".so").map(|(name, _)| name.to_owned())).collect();
        (names.join(" "), places(&given).contains(&"/usr/bin/nvidia-smi"), places(&given).contains(&"/dev/nvidia-uvm"))
    };
    let has = |names: &str, smi, uvm| (names.to_owned(), smi, uvm);
    assert_eq!(libraries(""), has("libcuda libnvidia-ml", true, true));
    assert_eq!(libraries("utility"), has("libnvidia-ml", true, false));
    assert_eq!(libraries("compute,video"), has("libcuda libnvcuvid", false, true));
    assert_eq!(libraries("all"), has("libcuda libnvcuvid libnvidia-ml", true, true));
    // a loader without a cache looks into its directories
    machine.remove("/etc/ld.so.cache");
    assert_eq!(libraries("compute"), has("libcuda", false, true));
}

#[test]
fn an_image_with_a_newer_libcuda_uses_its_own() {
    let (machine, image) = (Machine::with_driver(), tempfile::tempdir().expect("a directory"));
    let directory = image.path().join("usr/local/cuda-12.8/compat");
    fs::create_dir_all(&directory).expect("created");
    std::os::unix::fs::symlink("cuda-12.8", image.path().join("usr/local/cuda")).expect("linked");
    fs::write(directory.join("libcuda.so.1"), "").expect("written");
    let bench = Bench::new();
    let rootfs = Rootfs::new(vec![image.path().to_owned()], Arc::new(bench.host()));
    let libraries = || {
        let given = gpu::devices(&Root::new(machine.root()), Some("all"), &BTreeMap::new(), &rootfs).expect("given");
        given.devices.libraries
    };
    fs::write(directory.join("libcuda.so.550.163.01"), "").expect("written");
    assert_eq!(libraries(), [LIBRARIES]);
    fs::write(directory.join("libcuda.so.570.86.10"), "").expect("written");
    assert_eq!(libraries(), ["/usr/local/cuda/compat", LIBRARIES]);
}

/// What nvidia-ctk(1) writes for the first GPU of the made-up machine, abridged.
const CDI: &str = r#"---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - {path: /dev/nvidia1, type: c, major: 195, minor: 1, fileMode: 438, permissions: rw}
- name: all
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia1
    - path: /dev/renamed
      hostPath: /dev/nvidia0
containerEdits:
  env:
  - NVIDIA_VISIBLE_DEVICES=void
  deviceNodes:
  - path: /dev/nvidiactl
  mounts:
  - hostPath: LIBRARIES/libcuda.so.550.54.15
    containerPath: /usr/lib64/libcuda.so.550.54.15
    options: [ro, nosuid, nodev, rbind, rprivate]
  hooks:
  - hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
    args: [nvidia-cdi-hook, create-symlinks, --link, "libcuda.so.1::/usr/lib64/libcuda.so"]
  - hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
    args: [nvidia-cdi-hook, update-ldcache, --folder, /usr/lib64]
  - hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
    args: [nvidia-cdi-hook, disable-device-node-modification]
  - hookName: createRuntime
    path: /usr/bin/touch
    args: [touch, MARK]
"#;

fn cdi() -> String {
    CDI.replace("LIBRARIES", LIBRARIES)
}

#[test]
fn a_specification_says_what_a_container_is_given() {
    let (dlpack, machine) = (Dlpack::unprivileged(), Machine::with_driver());
    image(&dlpack, true);
    let mark = dlpack.work().join("mark");
    machine.write("/etc/cdi/nvidia.yaml", &cdi().replace("MARK", &mark.display().to_string()));
    let script = "cat /dev/nvidia* /dev/renamed 2>/dev/null; echo $NVIDIA_VISIBLE_DEVICES; \
                  ls /usr/lib64; /sbin/ldconfig -p | grep 'libcuda.so.1 '; test -L /usr/lib64/libcuda.so && echo link";
    let driver = format!(
        "/dev/nvidiactl\nvoid\nlibcuda.so\nlibcuda.so.1\nlibcuda.so.{DRIVER}\n\
         \tlibcuda.so.1 ({ABI}) => /usr/lib64/libcuda.so.1\nlink"
    );
    let expected = format!("/dev/nvidia1\n{driver}");
    for name in ["0", "nvidia.com/gpu=0", UUIDS[0]] {
        let (said, warned) = says(&dlpack, &machine, &["--user", "worker", "--gpus", name], script);
        assert_eq!(said, expected, "{name}");
        let hook = format!("has the hook `/usr/bin/touch {}`, which dlpack does not know", mark.display());
        assert!(warned.contains(&hook), "{warned}");
    }
    assert!(!mark.exists(), "a hook was run");
    let given = devices(&machine, Some("all"), &[]).expect("given");
    let expected = ["/dev/nvidia1", "/dev/nvidiactl", "/dev/renamed", "/usr/lib64/libcuda.so.550.54.15"];
    assert_eq!(places(&given), expected);
    // the later directory counts more, and other vendors' devices have their whole names
    let json =
        r#"{"cdiVersion": "0.6.0", "kind": "KIND", "devices": [{"name": "0", "containerEdits": {"env": ["A=1"]}}]}"#;
    machine.write("/var/run/cdi/other.json", &json.replace("KIND", "nvidia.com/gpu"));
    machine.write("/var/run/cdi/vendor.json", &json.replace("KIND", "vendor.com/card"));
    for name in ["0", "vendor.com/card=0"] {
        let given = devices(&machine, Some(name), &[]).expect("given");
        assert_eq!(given.devices.env, BTreeMap::from([("A".to_owned(), "1".to_owned())]));
        assert_eq!(places(&given), [""; 0]);
    }
    // of another vendor's file that is broken nobody needs to know
    machine.write("/etc/cdi/broken.json", "{");
    assert!(devices(&machine, Some("all"), &[]).is_ok());
}

#[test]
fn what_nobody_may_write_is_given_to_be_read() {
    let (dlpack, machine) = (Dlpack::unprivileged(), Machine::with_driver());
    image(&dlpack, true);
    let part = "/dev/nvidia-caps/nvidia-cap2";
    machine.node(part);
    fs::set_permissions(machine.at(part), Permissions::from_mode(0o444)).expect("set");
    machine.write(
        "/etc/cdi/mig.json",
        r#"{"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": [
            {"name": "0:1", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia-caps/nvidia-cap2"}]}}]}"#,
    );
    let script = format!("cat {part}");
    let (said, _) = says(&dlpack, &machine, &["--user", "worker", "--gpus", "nvidia.com/gpu=0:1"], &script);
    assert_eq!(said, part);
}

#[test]
fn a_divided_gpu_comes_with_its_parts_or_a_warning() {
    let machine = Machine::with_driver();
    let has = |gpus: &str| {
        let given = devices(&machine, Some(gpus), &[]).expect("given");
        let parts = places(&given).into_iter().filter_map(|place| place.strip_prefix("/dev/nvidia-caps/nvidia-cap"));
        (parts.collect::<Vec<_>>().join(" "), given.warnings.join("\n"))
    };
    // GPU 0, whose device minor is 1, in two parts
    for (directory, minor) in [("gi1", 12), ("gi1/ci0", 13), ("gi2", 21), ("gi2/ci0", 22)] {
        let access = format!("/proc/driver/nvidia/capabilities/gpu1/mig/{directory}/access");
        machine.write(&access, &format!("DeviceFileMinor: {minor}\nDeviceFileMode: 292\n"));
    }
    machine.write("/proc/driver/nvidia/capabilities/gpu1/mig/config", "DeviceFileMinor: 1\n");
    machine.node("/dev/nvidia-caps/nvidia-cap1");
    machine.node("/dev/nvidia-caps/nvidia-cap12");
    let (parts, warned) = has("all");
    assert_eq!(parts, "12");
    assert!(warned.starts_with("GPU 0 is divided (MIG), and no part of it can be used: of gi1/ci0, "), "{warned}");
    assert!(warned.contains("/dev/nvidia-caps/nvidia-cap13 is not there"), "{warned}");
    assert_eq!(has("1"), (String::new(), String::new()), "the other one is whole");
    machine.node("/dev/nvidia-caps/nvidia-cap13");
    assert_eq!(has("0"), ("12 13".to_owned(), String::new()), "what a job has of it is enough");
    for minor in [21, 22] {
        machine.node(&format!("/dev/nvidia-caps/nvidia-cap{minor}"));
    }
    assert_eq!(has("all"), ("12 13 21 22".to_owned(), String::new()));
}

#[test]
fn what_a_specification_wants_and_can_not_be_had_is_said_once() {
    let machine = Machine::with_driver();
    let edits = r#"{"additionalGids": [4242]}"#;
    let text = format!(
        r#"{{"cdiVersion": "0.7.0", "kind": "nvidia.com/gpu", "devices": [
            {{"name": "0", "containerEdits": {edits}}}, {{"name": "1", "containerEdits": {edits}}}]}}"#
    );
    machine.write("/etc/cdi/nvidia.json", &text);
    let warnings = devices(&machine, Some("all"), &[]).expect("given").warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("/etc/cdi/nvidia.json wants the groups 4242 "), "{warnings:?}");
}

#[test]
fn a_container_that_gets_no_gpu() {
    let mut shown = Shown::new();
    let machine = Machine::with_driver();
    let refused =
        |machine: &Machine, gpus: &str, env: &[(&str, &str)]| devices(machine, Some(gpus), env).expect_err("refused");
    let bare = Machine::bare();
    for (machine, name) in [(&machine, "MACHINE"), (&bare, "MACHINE")] {
        shown.replace(machine.root().display().to_string(), name);
    }
    shown.add("no GPU", refused(&bare, "all", &[]));
    for (name, content) in [("vendor", "0x10de\n"), ("class", "0x030000\n"), ("device", "0x2684\n")] {
        bare.write(&format!("/sys/bus/pci/devices/0000:01:00.0/{name}"), content);
    }
    shown.add("a card without a driver", refused(&bare, "all", &[]));
    bare.write(
        "/proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.82.01  Wed Oct 27\n",
    );
    shown.add("a driver without a GPU", refused(&bare, "all", &[]));
    shown.add("names that are none", refused(&machine, "0 1", &[]));
    shown.add("an index too many", refused(&machine, "2", &[]));
    shown.add("too little of a UUID", refused(&machine, "GPU-", &[]));
    let require = |requirement| ("NVIDIA_REQUIRE_CUDA", requirement);
    shown.add(
        "a driver that is too old",
        refused(&machine, "all", &[require("cuda>=12.6 brand=tesla,driver>=470,driver<471")]),
    );
    shown.add("a GPU that is too old", refused(&machine, "0", &[require("arch>=9.0")]));
    shown.add("a condition that is none", refused(&machine, "all", &[require("cuda=>12.6")]));
    machine.remove("/dev/nvidia-uvm");
    shown.add("a device that is not there", refused(&machine, "all", &[]));
    machine.node("/dev/nvidia-uvm");
    let source = rustix::io::Errno::ACCESS.into();
    shown.add("a device of others", Error::Forbidden { path: "/dev/nvidia0".into(), source });
    machine.remove(&format!("{LIBRARIES}/libcuda.so.550.54.15"));
    shown.add("half a driver", refused(&machine, "all", &[]));
    shown.is("gpu/refused");
}

#[test]
fn a_specification_that_is_none() {
    let mut shown = Shown::new();
    let machine = Machine::with_driver();
    shown.replace(LIBRARIES, "LIBRARIES");
    let refused = |gpus: &str| devices(&machine, Some(gpus), &[]).expect_err("refused");
    machine.write("/etc/cdi/nvidia.yaml", &cdi());
    shown.add("a device that it has not", refused("1"));
    machine.remove(&format!("{LIBRARIES}/libcuda.so.550.54.15"));
    shown.add("a library that is not there any more", refused("all"));
    machine.remove("/dev/nvidiactl");
    shown.add("a device node that is not there", refused("all"));
    machine.write(
        "/etc/cdi/nvidia.json",
        r#"{"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": [{"name": "all"}]}"#,
    );
    shown.add("two with the same device", refused("all"));
    machine.remove("/etc/cdi/nvidia.json");
    machine.write("/etc/cdi/nvidia.yaml", &cdi().replace("devices:\n- name", "devices:\n  name"));
    shown.add("YAML that is none", refused("all"));
    machine.write("/etc/cdi/nvidia.yaml", &cdi().replace("cdiVersion: 0.5.0\n", ""));
    shown.add("a field that is missing", refused("all"));
    machine.write("/etc/cdi/nvidia.yaml", &cdi().replace("/dev/nvidiactl", "dev/nvidiactl"));
    shown.add("a path from nowhere", refused("all"));
    fs::write(machine.at("/etc/cdi/nvidia.yaml"), [0xff]).expect("written");
    shown.add("no text", refused("all"));
    shown.is("gpu/cdi");
}
