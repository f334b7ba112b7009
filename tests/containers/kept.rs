//! Those that are kept, and what a kill leaves of any: whose they are, and who sweeps them.

use super::*;

#[test]
fn what_a_kill_left_before_anything_was_noted_blocks_no_name() {
    let dlpack = base();
    assert_eq!(Running::start(&dlpack, &[], "echo ready").ended(), Some(0));
    for name in ["empty", "locked"] {
        let directory = dlpack.store().join("containers").join(name);
        fs::create_dir(&directory).expect("created");
        std::os::unix::fs::chown(&directory, Some(UID), Some(UID)).expect("root may chown");
        if name == "locked" {
            fs::write(directory.join("lock"), "").expect("written");
            std::os::unix::fs::chown(directory.join("lock"), Some(UID), Some(UID)).expect("root may chown");
        }
        assert_eq!(Running::start(&dlpack, &["--name", name], "echo ready").ended(), Some(0));
        assert!(!directory.exists(), "{name}");
    }
}

#[test]
fn one_whose_dlpack_was_killed_is_no_more() {
    let dlpack = base();
    let mut running = Running::start(&dlpack, &["--name", "box"], "echo ready; exec sleep 1000");
    running.signal(Signal::KILL);
    // its processes have its stdout as long as they are there
    assert_eq!(running.line(), "");
    assert_eq!(running.ended(), None);
    assert_eq!(ps(&dlpack, &["-a"]), []);
    assert_eq!(Running::start(&dlpack, &["--name", "box"], "echo ready").ended(), Some(0));
}

#[test]
fn what_is_kept_is_gone_on_with_until_it_is_removed() {
    let dlpack = base();
    dlpack.write("dlpack.toml", &format!("{}{}", tiny::BASE, layer("echo made >/made", "")));
    dlpack.ok(["build", "tiny"]);
    let run = |options: &[&str], script: &str| {
        dlpack.ok([&["run", "--quiet", "--name", "work"], options, &["tiny", "sh", "-c", script]].concat())
    };
    run(&["--keep"], "echo x >/x; chown worker:42 /x; rm /made; mkdir -p /odd/in; chmod 0 /odd/in /odd");
    assert_eq!(ps(&dlpack, &[]), []);
    assert_eq!(ps(&dlpack, &["--all"]), [("work".to_owned(), false, true)]);
    assert_eq!(run(&[], "stat -c %u:%g /x; test ! -e /made; echo y >>/x; cat /x"), "1234:42\nx\ny");
    // its base stays as long as it does
    let trees = || fs::read_dir(dlpack.store().join("overlays/sha256")).map_or(0, Iterator::count);
    dlpack.ok(["cache", "gc", "--max-size", "0"]);
    assert_eq!(trees(), 1);
    assert_eq!(run(&[], "cat /x"), "x\ny");
    let mut shown = Shown::new();
    let another = ["run", "--quiet", "--name", "work", "oci:base", "true"];
    shown.run("a kept one of another image", &mut dlpack.command(another));
    let other = ["run", "--quiet", "--name", "work", "--user", "worker", "tiny", "true"];
    shown.run("a kept one as another user", &mut dlpack.command(other));
    shown.run("a command in one that has ended", &mut dlpack.command(["exec", "work", "true"]));
    let kept = dlpack.store().join("containers/work");
    fs::rename(kept.join("sandbox"), kept.join("elsewhere")).expect("renamed");
    shown.replace(dlpack.home().display().to_string(), "HOME");
    shown.replace(rustix::system::uname().nodename().to_string_lossy(), "MACHINE");
    shown
        .run("a kept one whose files are elsewhere", &mut dlpack.command(["run", "--quiet", "--name", "work", "tiny"]));
    fs::rename(kept.join("elsewhere"), kept.join("sandbox")).expect("renamed");
    shown.is("run/kept");
    dlpack.ok(["rm", "work"]);
    assert_eq!(ps(&dlpack, &["-a"]), []);
    assert!(!kept.exists());
    assert_eq!(run(&[], "cat /made; test ! -e /x"), "made");
    assert_eq!(ps(&dlpack, &["-a"]), [], "it was not to be kept");
}

#[test]
fn what_cannot_be_read_or_is_another_machines_is_not_swept() {
    let dlpack = base();
    let run = |options: &[&str], script: &str| {
        dlpack.ok([&["run", "--quiet", "--name", "work"], options, &["oci:base", "sh", "-c", script]].concat())
    };
    run(&["--keep"], "echo x >/x");
    let directory = dlpack.store().join("containers/work");
    let record = directory.join("container.json");
    let known = fs::read_to_string(&record).expect("text");
    let mut shown = Shown::new();
    shown.replace(dlpack.home().display().to_string(), "HOME");
    let mut show = |case: &str, arguments: &[&str]| shown.run(case, &mut dlpack.command(arguments));
    let again = ["run", "--quiet", "--name", "work", "oci:base", "cat", "/x"];
    // what read(2) of a directory says stands for whatever a disk says
    fs::remove_file(&record).expect("removed");
    fs::create_dir(&record).expect("created");
    let listed = dlpack.ok(["ps", "-a"]);
    assert!(listed.ends_with("its record can't be read: Is a directory (os error 21)"), "{listed}");
    show("its end when it can't be read", &["rm", "work"]);
    show("its name when it can't be read", &again);
    fs::remove_dir(&record).expect("removed");
    // as after a crash of this machine, or a version of dlpack that wrote less
    fs::write(&record, &known[..16]).expect("written");
    show("a command in a damaged one", &["exec", "work", "true"]);
    show("the name of a damaged one", &again);
    fs::write(&record, "{}").expect("written");
    assert_eq!(dlpack.json(["ps", "-a"])[0]["name"], "work");
    fs::remove_file(&record).expect("removed");
    assert_eq!(dlpack.json(["ps", "-a"])[0]["name"], "work");
    let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let elsewhere = known.replace(&format!("\"host\":\"{own}\""), "\"host\":\"node-7\"");
    let elsewhere = elsewhere.replace("\"ended\":\"exit status 0\"", "\"ended\":null");
    let kept_elsewhere = elsewhere.clone();
    let elsewhere = elsewhere.replace("\"kept\":true", "\"kept\":false");
    fs::write(&record, &elsewhere).expect("written");
    assert_eq!(ps(&dlpack, &[]), [("work".to_owned(), false, false)]);
    show("the name of one on another machine", &again);
    show("a command in one on another machine", &["exec", "work", "true"]);
    show("the end of one on another machine", &["stop", "work"]);
    show("one on another machine, to be removed", &["rm", "work"]);
    let listed = dlpack.ok(["ps"]);
    assert!(listed.ends_with("runs on node-7, or was killed there"), "{listed}");
    // the same of one that is to be kept, until it has said that it ended
    fs::write(&record, kept_elsewhere).expect("written");
    show("the name of a kept one on another machine", &again);
    show("a kept one on another machine, to be removed", &["rm", "work"]);
    assert_eq!(run(&["--force"], "cat /x"), "x", "its machine is gone");
    fs::write(&record, &known).expect("written");
    assert_eq!(run(&[], "cat /x"), "x", "all of it was left alone");
    fs::write(&record, "{}").expect("written");
    dlpack.ok(["rm", "work"]);
    assert!(!directory.exists());
    fs::create_dir(&directory).expect("created");
    std::os::unix::fs::chown(&directory, Some(UID), Some(UID)).expect("root may chown");
    fs::write(&record, &elsewhere).expect("written");
    dlpack.ok(["rm", "--force", "work"]);
    assert!(!directory.exists());
    shown.is("run/records");
}

#[test]
fn what_was_written_in_a_user_namespace_is_not_gone_on_with_where_there_is_none() {
    let dlpack = Dlpack::new();
    tiny::layout(&dlpack.work());
    // what a container's profile refuses its root
    let container = refusing(&["unshare=EPERM", "clone-new=EPERM", "mount=EPERM", "pivot_root=EPERM"]);
    let bare = ["env"];
    let command = |wrapper: &[&str], options: &[&str], script: &str| {
        let arguments = [&["run", "--quiet"], options, &["oci:base", "sh", "-c", script]].concat();
        dlpack.command_in(wrapper, arguments)
    };
    let printed = |wrapper: &[&str], options: &[&str], script: &str| {
        let ran = command(wrapper, options, script).output().expect("it runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    };
    let mut shown = Shown::new();
    shown.replace(dlpack.home().display().to_string(), "HOME");
    printed(&bare, &["--keep", "--name", "apart"], "echo x >/x");
    printed(&container, &["--keep", "--name", "real"], "echo y >/y");
    shown.run("in a namespace, gone on with in none", &mut command(&container, &["--name", "apart"], "cat /x"));
    shown.run("in none, gone on with in a namespace", &mut command(&bare, &["--name", "real"], "cat /y"));
    shown.is("run/forms");
    assert_eq!(printed(&bare, &["--name", "apart"], "cat /x"), "x");
    assert_eq!(printed(&container, &["--name", "real"], "cat /y"), "y");
}

#[test]
fn a_kept_one_is_nobodys_as_long_as_anything_of_a_killed_one_is_left() {
    let dlpack = base();
    let script = "echo x >/x; ! grep '^overlay / .*volatile' /proc/mounts; echo ready; exec cat";
    let mut running = Running::start(&dlpack, &["--keep", "--name", "work"], script);
    // proc_pid_task(5), children: by the thread that started them
    let tasks = fs::read_dir(format!("/proc/{}/task", running.child.id())).expect("threads");
    let children = tasks.flatten().map(|task| fs::read_to_string(task.path().join("children")).expect("children"));
    let helper = children.collect::<String>().split_whitespace().next().and_then(|pid| pid.parse().ok());
    let helper = helper.and_then(Pid::from_raw).expect("the sandbox's first process");
    kill_process(helper, Signal::STOP).expect("sent");
    running.signal(Signal::KILL);
    running.child.wait().expect("waited");
    assert_eq!(ps(&dlpack, &[]), [("work".to_owned(), true, true)]);
    let refused = dlpack.fails(["run", "--quiet", "--name", "work", "oci:base", "true"]);
    assert!(refused.contains("a container `work` runs already"), "{refused}");
    kill_process(helper, Signal::CONT).expect("sent");
    let lock = fs::File::open(dlpack.store().join("containers/work/lock")).expect("opened");
    lock.lock_shared().expect("nobody's");
    drop(lock);
    assert_eq!(dlpack.ok(["run", "--quiet", "--name", "work", "oci:base", "cat", "/x"]), "x");
}

#[test]
fn nothing_stays_of_what_was_written_elsewhere() {
    let dlpack = base();
    let scratch = dlpack.work().join("scratch");
    let dlpack_with = |arguments: &[&str]| {
        let ran = dlpack.command(arguments).env("DLPACK_SCRATCH", &scratch).output().expect("it runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    let left = || fs::read_dir(&scratch).map_or(0, Iterator::count);
    let run = ["run", "--quiet", "--keep", "--name", "work", "oci:base", "true"];
    dlpack_with(&run);
    assert_eq!(left(), 1);
    dlpack_with(&["rm", "work"]);
    assert_eq!(left(), 0);
    dlpack_with(&run);
    // as a dlpack leaves it that is killed while it opens a container that is to be kept
    let record = dlpack.store().join("containers/work/container.json");
    let known = fs::read_to_string(&record).expect("text");
    fs::write(&record, known.replace("\"kept\":true", "\"kept\":false")).expect("written");
    assert_eq!(ps(&dlpack, &["-a"]), []);
    assert_eq!(left(), 0);
}
