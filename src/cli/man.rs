//! `dlpack man`: the manual pages.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap_mangen::Man;

use super::display::show;
use super::error::{ExitKind, Failure};

/// Print the manual page, or write one page a verb into a directory
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The directory, such as ~/.local/share/man/man1
    directory: Option<PathBuf>,
}

pub fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.directory {
        None => {
            let mut page = Vec::new();
            Man::new(super::command()).render(&mut page).map_err(|source| Failure::new(ExitKind::Other, source))?;
            show(String::from_utf8_lossy(&page).trim_end())
        }
        Some(directory) => write_pages(&directory).map_err(|source| {
            Failure::new(ExitKind::Store, source).about(format!("can't write pages into {}", directory.display()))
        }),
    }
}

fn write_pages(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    clap_mangen::generate_to(super::command(), directory)
}
