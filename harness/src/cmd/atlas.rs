//! `relgrad atlas`: one model of the times on several machines.

use std::path::PathBuf;

use clap::Args;
use relgrad_reports::atlas::{Atlas, Data, Folder, leave_one_out, left_out_table, machines_table, variances_table};

use crate::error::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  relgrad atlas results/laptop results/server --out atlas.json
  relgrad atlas reports/archive/*-peers results/* --leave-one-out   how well it predicts

- A study is the folder of a sweep, or of a comparison with peers, of which relgrad's times count.
- Studies of one machine are put together, and so are their ceilings.
- The file that --out names is for predict and sweep.
- --leave-one-out predicts each machine from all others, from its ceilings alone, and with anchors:
  three cells of a method, the first three processes of each.
";

/// Fits one model to the sweeps of several machines, which predicts a further one
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// Folders of sweeps, finished or not, and of comparisons with peers
    #[arg(required = true, value_name = "STUDY")]
    studies: Vec<PathBuf>,
    /// Write the atlas to FILE, as JSON
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Predict each machine from the others, and print how well that went
    #[arg(long)]
    leave_one_out: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let read = |dir: &PathBuf| Folder::read(dir).map_err(|cause| Error::Input(cause.to_string()));
    let folders = arguments.studies.iter().map(read).collect::<Result<Vec<_>>>()?;
    let data = Data::of(&folders);
    data.told.iter().for_each(|words| note!("relgrad: {words}"));
    let atlas = Atlas::fit(&data).map_err(Error::Input)?;
    say_text!("{}\n{}", machines_table(&atlas).text(), variances_table(&atlas).text());
    if arguments.leave_one_out {
        let left_out = leave_one_out(&data).map_err(Error::Input)?;
        say_text!("\n{}", left_out_table(&left_out).text());
    }
    if let Some(out) = &arguments.out {
        atlas.write(out).map_err(|cause| Error::Output(cause.to_string()))?;
        say!("{}", out.display());
    }
    Ok(0)
}
