//! `relgrad verify`: golden vectors through every backend and precision.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use relgrad_golden::{Case, File, Golden, Row, compare, compare_convolution};
use relgrad_kernels::evaluation::{self, Evaluation, Workload};
use relgrad_kernels::{Architecture, Cpu, Cuda, Dtype, Math, Method, cost};
use relgrad_reports::units;

use crate::console;
use crate::error::{EXIT_CODES, Error, Result, code};
use crate::machine::{self, gpu};
use crate::plan::dims::Dims;
use crate::verify::agreement;
use crate::verify::output::{Outcome, Unsupported};
use crate::workload::DeviceKind;

const EXAMPLES: &str = "\
Examples:
  relgrad verify golden/p*.json
  relgrad verify golden/index.json --json
  relgrad verify --device cuda --sizes 1,31,33,127,1000 golden/p*.json

Errors are norm-wise per array, max|a - b| / max|b|, worst over the layers, and must stay within the tolerance that \
the file carries. Where it carries none, nothing is expected and nothing is counted. --sizes needs no files: gradients \
are compared with a plain-loop reference up to D = 128, and with derivatives by forward mode above.
";

/// Compares likelihoods, gradients and inverses with golden vectors, for every backend in f64 and f32
#[derive(Debug, Args)]
#[command(after_help = help())]
pub(crate) struct Arguments {
    /// Golden-vector files, or an index.json that lists some
    #[arg(required_unless_present = "sizes", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Device that computes: cpu, or cuda (the first NVIDIA GPU)
    #[arg(long, value_name = "NAME", default_value = "cpu")]
    device: DeviceKind,

    /// Also check every method at these dimensions, in every arithmetic of the device: a list or ranges
    #[arg(long, value_name = "LIST")]
    sizes: Option<Dims>,

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
    let target = Target::open(arguments.device)?;
    let sizes = arguments.sizes.as_ref().map_or(&[][..], |dims| &dims.0);
    if arguments.device == DeviceKind::Cpu {
        require_memory(sizes)?;
    }
    let (mut rows, mut unsupported) = (Vec::new(), Vec::new());
    for (path, case) in &cases {
        match case {
            Case::Unsupported { id, reason } => {
                unsupported.push(Unsupported { id: id.clone(), reason: reason.clone() });
            }
            Case::Dense(golden) => {
                for dtype in Dtype::ALL {
                    let compared = target.compare(dtype, golden);
                    rows.extend(compared.map_err(|cause| Error::input(path, cause))?);
                }
            }
            Case::Convolution(golden) => {
                for dtype in Dtype::ALL {
                    let Target::Cpu(device) = &target else {
                        let reason = "convolutions run on the CPU".to_string();
                        unsupported.push(Unsupported { id: golden.id.clone(), reason });
                        break;
                    };
                    let compared = compare_convolution(device, dtype, golden);
                    rows.extend(compared.map_err(|cause| Error::input(path, cause))?);
                }
            }
        }
    }
    let agreement: Vec<agreement::Row> = if sizes.is_empty() { Vec::new() } else { target.agree(sizes) };
    let outcome = Outcome::new(rows, unsupported).with_agreement(agreement);
    if arguments.json {
        let text = serde_json::to_string(&outcome).map_err(|cause| Error::Output(cause.to_string()))?;
        console::emit(&format!("{text}\n"));
    } else {
        say_text!("{}", outcome.table());
    }
    if outcome.is_empty() {
        note!("relgrad: nothing was compared: the files list no case with a tolerance that can be evaluated here");
        return Ok(code::NOTHING_MEASURED);
    }
    Ok(if outcome.failed > 0 { code::CHECK_FAILED } else { 0 })
}

/// Fails where a check of --sizes would not fit into memory.
fn require_memory(sizes: &[usize]) -> Result<()> {
    const BATCH: usize = 10;
    for &dim in sizes {
        let shape = Architecture::new(dim, 2);
        let bytes = Method::ALL.map(|method| cost(method, &shape, BATCH, Dtype::F64).expected_bytes);
        let bytes = bytes.into_iter().fold(0.0, f64::max);
        super::require_memory(&format!("a check at D = {}", units::grouped(dim)), bytes)?;
    }
    Ok(())
}

/// What computes.
enum Target {
    Cpu(Cpu),
    Cuda(Cuda),
}

impl Target {
    fn open(device: DeviceKind) -> Result<Self> {
        match device {
            DeviceKind::Cpu => Ok(Self::Cpu(Cpu::new(machine::logical_cores()))),
            DeviceKind::Cuda => gpu::require().and_then(|()| gpu::open(Math::F32)).map(Self::Cuda).map_err(gpu::told),
        }
    }

    fn compare(&self, dtype: Dtype, golden: &Golden) -> relgrad_kernels::Result<Vec<Row>> {
        match (self, dtype) {
            (Self::Cpu(device), Dtype::F32) => compare::<_, f32>(device, golden),
            (Self::Cpu(device), Dtype::F64) => compare::<_, f64>(device, golden),
            (Self::Cuda(device), Dtype::F32) => compare::<_, f32>(device, golden),
            (Self::Cuda(device), Dtype::F64) => compare::<_, f64>(&device.with_math(Math::F64), golden),
        }
    }

    /// Every arithmetic of the device.
    fn agree(&self, dims: &[usize]) -> Vec<agreement::Row> {
        let maths = Math::ALL.into_iter();
        match self {
            Self::Cpu(_) => maths
                .filter(|math| *math != Math::Tf32)
                .flat_map(|math| agreement::agree(math, dims, &evaluation::prepare))
                .collect(),
            Self::Cuda(device) => maths
                .flat_map(|math| {
                    let device = device.with_math(math);
                    agreement::agree(math, dims, &|workload| prepare_on(&device, workload))
                })
                .collect(),
        }
    }
}

/// Prepares a workload on a GPU.
fn prepare_on(device: &Cuda, workload: &Workload) -> relgrad_kernels::Result<Box<dyn Evaluation>> {
    match workload.dtype {
        Dtype::F32 => evaluation::prepare_on::<_, f32>(device.clone(), workload),
        Dtype::F64 => evaluation::prepare_on::<_, f64>(device.clone(), workload),
    }
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
    let read = || {
        let file = fs::metadata(path)?;
        if !file.is_file() {
            return Ok(Err("it is no regular file"));
        }
        let mut text = Vec::new();
        fs::File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut text)?;
        Ok(if text.len() as u64 > MOST_BYTES { Err("it has more than 64 MiB") } else { Ok(text) })
    };
    read().map_err(|cause: io::Error| Error::input(path, cause))?.map_err(|why| Error::input(path, why))
}
