//! `relgrad verify`: golden vectors through every backend and precision.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use relgrad_kernels::Dtype;
use serde_json::Value;

use crate::error::{EXIT_CODES, Error, Result, code};
use crate::machine;
use crate::verify::compare::compare;
use crate::verify::compare_convolution;
use crate::verify::golden::{self, Case};
use crate::verify::output::{Outcome, Unsupported};

const EXAMPLES: &str = "\
Examples:
  relgrad verify golden/p*.json
  relgrad verify golden/index.json --json

Errors are norm-wise per array, max|a - b| / max|b|, worst over the layers, and must stay within the tolerance that the \
file carries. Where it carries none, nothing is expected and nothing is counted.
";

/// Compares likelihoods, gradients and inverses with golden vectors, for every backend in f64 and f32
#[derive(Debug, Args)]
#[command(after_help = help())]
pub(crate) struct Arguments {
    /// Golden-vector files, or an index.json that lists some
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Print every comparison as JSON
    #[arg(long)]
    json: bool,
}

fn help() -> String {
    format!("{EXAMPLES}\n{EXIT_CODES}")
}

/// Compares and prints; the code says whether everything passed.
pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let cases = read_all(&arguments.files)?;
    let threads = machine::logical_cores();
    let (mut rows, mut unsupported) = (Vec::new(), Vec::new());
    for (path, case) in &cases {
        match case {
            Case::Unsupported { id, reason } => {
                unsupported.push(Unsupported { id: id.clone(), reason: reason.clone() });
            }
            Case::Dense(golden) => {
                for dtype in Dtype::ALL {
                    let compared = match dtype {
                        Dtype::F32 => compare::<f32>(golden, threads),
                        Dtype::F64 => compare::<f64>(golden, threads),
                    };
                    rows.extend(compared.map_err(|cause| Error::input(path, cause))?);
                }
            }
            Case::Convolution(golden) => {
                for dtype in Dtype::ALL {
                    let compared = match dtype {
                        Dtype::F32 => compare_convolution::compare::<f32>(golden, threads),
                        Dtype::F64 => compare_convolution::compare::<f64>(golden, threads),
                    };
                    rows.extend(compared.map_err(|cause| Error::input(path, cause))?);
                }
            }
        }
    }
    let outcome = Outcome::new(rows, unsupported);
    if arguments.json {
        let text = serde_json::to_string(&outcome).map_err(|cause| Error::Output(cause.to_string()))?;
        println!("{text}");
    } else {
        print!("{}", outcome.table());
    }
    Ok(if outcome.failed > 0 { code::CHECK_FAILED } else { 0 })
}

/// Reads all files before anything is computed: one that is malformed makes the whole call wrong. Files that an index
/// lists stand beside it; a file named twice is read once.
fn read_all(paths: &[PathBuf]) -> Result<Vec<(PathBuf, Case)>> {
    let mut seen = HashSet::new();
    let mut cases = Vec::new();
    let mut waiting: Vec<PathBuf> = paths.iter().rev().cloned().collect();
    while let Some(path) = waiting.pop() {
        if !seen.insert(fs::canonicalize(&path).unwrap_or_else(|_| path.clone())) {
            continue;
        }
        let value = parse(&path)?;
        if let Some(names) = golden::index(&value) {
            let folder = path.parent().unwrap_or(Path::new(""));
            waiting.extend(names.iter().rev().map(|name| folder.join(name)));
            continue;
        }
        let case = golden::read(&value).map_err(|cause| Error::input(&path, cause))?;
        cases.push((path, case));
    }
    Ok(cases)
}

fn parse(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).map_err(|cause| Error::input(path, cause))?;
    serde_json::from_str(&text).map_err(|cause| Error::input(path, format!("not JSON: {cause}")))
}
