//! Draws every figure of every awkward study into a folder, to be looked at: `cargo run -p relgrad-plots --example
//! gallery DIR`.

#![allow(clippy::print_stdout, reason = "an example tells what it drew")]

mod awkward;

use std::path::PathBuf;

use relgrad_plots::{Figure, Format, draw};
use relgrad_reports::summary::Summary;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("name a folder to draw into")?.into();
    std::fs::create_dir_all(&folder)?;
    for (name, study) in awkward::studies() {
        let summary = Summary::of(&study);
        for figure in Figure::ALL {
            match draw(figure, &study, &summary) {
                Ok(drawing) => {
                    for format in Format::ALL {
                        drawing.write(&folder.join(format!("{name}-{figure}.{}", format.name())))?;
                    }
                }
                Err(error) => println!("{name} {figure}: {error}"),
            }
        }
    }
    Ok(())
}
