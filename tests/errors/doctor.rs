//! Tables of remedies that are none.

use std::fs;

use dlpack::doctor::Remedies;

use super::shown_at;
use crate::support::command::Dlpack;

#[test]
fn a_persons_own_remedies_that_cannot_be_taken() {
    let dlpack = Dlpack::new();
    let mut shown = shown_at(&dlpack);
    let directory = dlpack.home().join(".config/dlpack");
    let table = directory.join("remedies.toml");
    fs::create_dir_all(&table).unwrap();
    let own = || Remedies::shipped().unwrap().with(&table).unwrap_err();
    shown.add("a directory", own());
    fs::remove_dir(&table).unwrap();
    fs::write(&table, "[no-gpu]\nwhy = \"there is none\"\n").unwrap();
    shown.add("a problem that is none", own());
    shown.is("doctor/remedies");
}
