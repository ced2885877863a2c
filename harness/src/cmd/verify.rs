//! `relgrad verify`: every backend and precision against golden vectors.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use relgrad_golden::{Case, File, compare, compare_on_gpu, compare_rivals};
use relgrad_kernels::{Architecture, CouplingKind, Dtype, Math, Method, cost};
use relgrad_reports::units;

use crate::error::{Error, Result, code};
use crate::machine::{self, gpu};
use crate::measure::plan::dims::Dims;
use crate::measure::workload::{DeviceKind, Target};
use crate::verify::{Outcome, Unsupported, agreement};

const EXAMPLES: &str = "\
Examples:
  relgrad verify golden/p*.json
  relgrad verify golden/index.json --json
  relgrad verify --device cuda --sizes 1,31,33,127,1000 golden/p*.json

- The error of an array is max|a - b| / max|b|; the worst layer counts.
- It must be within the tolerance of the file. A quantity without a tolerance is not counted.
- --sizes requires no files. It compares gradients with a plain-loop reference up to D = 128, and
  with directional derivatives by forward mode above.
";

/// Compares likelihoods, gradients and inverses with golden vectors, for every backend in f64 and f32
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// Golden-vector files, or an index.json that lists them
    #[arg(required_unless_present = "sizes", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Device: cpu, or cuda (the first NVIDIA GPU)
    #[arg(long, value_name = "NAME", default_value = "cpu")]
    device: DeviceKind,
    /// Also check every method at these dimensions (a list or ranges), in every arithmetic of the device
    #[arg(long, value_name = "LIST")]
    sizes: Option<Dims>,
    /// Print every comparison as JSON
    #[arg(long)]
    json: bool,
}

/// Compares and prints; the code says whether everything passed.
pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    super::start_threads(None)?;
    let cases = read_all(&arguments.files)?;
    if arguments.device == DeviceKind::Cuda {
        gpu::require().map_err(gpu::told)?;
    }
    let target = Target::open(arguments.device, Math::F32, machine::logical_cores()).map_err(gpu::told)?;
    let sizes = arguments.sizes.as_ref().map_or(&[][..], |dims| &dims.0);
    if arguments.device == DeviceKind::Cpu {
        require_memory(sizes)?;
    }
    let (mut rows, mut unsupported) = (Vec::new(), Vec::new());
    for (path, case) in &cases {
        for dtype in Dtype::ALL {
            let compared = match case {
                Case::Unsupported { id, reason } => Err((id, reason.clone())),
                Case::Rivals(rivals) => match &target {
                    Target::Cpu(device) => Ok(Ok(compare_rivals(device, dtype, rivals))),
                    Target::Cuda(_) => Err((rivals.id(), "these methods run on the CPU".to_string())),
                },
                Case::Network(golden) => match &target {
                    Target::Cpu(device) => Ok(compare(device, dtype, golden)),
                    Target::Cuda(device) if golden.architecture.coupling == CouplingKind::Dense => {
                        Ok(compare_on_gpu(device, dtype, golden))
                    }
                    Target::Cuda(_) => Err((&golden.id, "convolutions run on the CPU".to_string())),
                },
            };
            match compared {
                Ok(compared) => rows.extend(compared.map_err(|cause| Error::input(path, cause))?),
                Err((id, reason)) => {
                    unsupported.push(Unsupported { id: id.clone(), reason });
                    break;
                }
            }
        }
    }
    let agreement = if sizes.is_empty() { Vec::new() } else { agreement::agree(&target, sizes) };
    let outcome = Outcome::new(rows, unsupported, agreement);
    if arguments.json {
        super::print_json(&outcome)?;
    } else {
        say_text!("{}", outcome.table());
    }
    if outcome.is_empty() {
        note!("relgrad: nothing was compared: no case has a tolerance and runs on this device");
        return Ok(code::NOTHING_MEASURED);
    }
    Ok(if outcome.failed > 0 { code::CHECK_FAILED } else { 0 })
}

/// Fails where a check of --sizes would not fit into memory.
fn require_memory(sizes: &[usize]) -> Result<()> {
    const BATCH: usize = 10;
    for &dim in sizes {
        let shape = Architecture::new(dim, 2);
        let costs = Method::ALL.into_iter().filter_map(|method| cost(method, &shape, BATCH, Dtype::F64).ok());
        let bytes = costs.map(|cost| cost.expected_bytes).fold(0.0, f64::max);
        super::require_memory(&format!("a check at D = {}", units::grouped(dim)), bytes)?;
    }
    Ok(())
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
        match relgrad_golden::parse(&contents(&path)?).map_err(|cause| Error::input(&path, cause))? {
            File::Case(case) => cases.push((path, case)),
            File::Index(names) => {
                let folder = path.parent().unwrap_or(Path::new(""));
                waiting.extend(names.iter().rev().map(|name| folder.join(name)));
            }
        }
    }
    Ok(cases)
}

/// A device may have no end, and what is read takes some sixteen times the file's size.
fn contents(path: &Path) -> Result<Vec<u8>> {
    const MOST_BYTES: u64 = 64 << 20;
    let cannot = |cause: io::Error| Error::input(path, cause);
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(Error::input(path, "it is no regular file"));
    }
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(cannot)?;
    let length = file.take(MOST_BYTES + 1).read_to_end(&mut text).map_err(cannot)?;
    if length as u64 > MOST_BYTES { Err(Error::input(path, "it has more than 64 MiB")) } else { Ok(text) }
}
