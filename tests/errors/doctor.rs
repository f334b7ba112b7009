//! Tables of remedies that are none.

use std::fs;

use super::shown_at;
use crate::support::command::Dlpack;

#[test]
fn a_persons_own_remedies_that_cannot_be_taken() {
    let dlpack = Dlpack::new();
    let mut shown = shown_at(&dlpack);
    let directory = dlpack.home().join(".config/dlpack");
    let table = directory.join("remedies.toml");
    fs::create_dir_all(&table).unwrap();
    shown.run("a directory", &mut dlpack.command(["doctor"]));
    fs::remove_dir(&table).unwrap();
    fs::write(&table, "[no-gpu]\nwhy = \"there is none\"\n").unwrap();
    shown.run("a problem that is none", &mut dlpack.command(["doctor"]));
    shown.is("doctor/remedies");
}
