//! The parts of the page: what the paper shows, and the command that shows it here.

use relgrad_kernels::{DeviceKind, Method};

use super::claims::{self, Claim};
use crate::experiment::Effort;

/// A figure, table or appendix of the paper.
pub(crate) struct Part {
    /// Its name for `--only`, and of its folder.
    pub(crate) name: &'static str,
    /// What it is in the paper.
    pub(crate) title: &'static str,
    pub(crate) source: Source,
    /// Seconds on two Zen 5 cores: quick, full.
    pub(crate) seconds: [f64; 2],
    /// Data sets, any of which it can use; none is needed where the list is empty.
    pub(crate) data: &'static [&'static str],
    /// What the paper states of it.
    pub(crate) claims: fn() -> Vec<Claim>,
}

/// The command behind a part.
pub(crate) enum Source {
    /// `relgrad sweep` with these flags: smoke, quick, full.
    Sweep {
        flags: [&'static str; 3],
        device: DeviceKind,
        /// Cells of the full run that must be measured for it to be this part.
        cells: &'static [(Method, usize)],
        /// Figures of the sweep that the page shows.
        figures: &'static [&'static str],
    },
    /// `relgrad experiment` of the part's name.
    Experiment,
}

/// The settings of the memory runs: one evaluation, which is traced, is all that they need.
const MEMORY: &str = "--rounds 1 --min-samples 0 --attempts 1 --no-roofline --budget none --cell-limit none";

pub(crate) static PARTS: [Part; 13] = [
    Part {
        name: "fig3",
        title: "Figure 3: time of one gradient on the CPU",
        source: Source::Sweep {
            flags: [
                "--dims 4,8,16 --rounds 1 --min-samples 2 --no-roofline --attempts 1 --batch 4 --budget 20s",
                "--dims 10:20000 --rounds 3 --min-samples 5 --budget 5m",
                "--dims 10:20000 --rounds 5 --min-samples 10 --budget none --cell-limit none",
            ],
            device: DeviceKind::Cpu,
            cells: &[(Method::Relative, 20_000), (Method::Ordinary, 5000), (Method::Autodiff, 1000)],
            figures: &["fig3", "speedup", "local-exponent"],
        },
        seconds: [300.0, 6.5 * 3600.0],
        data: &[],
        claims: claims::time,
    },
    Part {
        name: "fig1-left",
        title: "Figure 1 (left): time of one gradient on a GPU",
        source: Source::Sweep {
            flags: [
                "--device cuda --dims 4,8,16 --rounds 1 --min-samples 2 --no-roofline --attempts 1 --batch 4",
                "--device cuda --dims 10:20000 --rounds 3 --min-samples 5 --budget 4m",
                "--device cuda --dims 10:20000 --rounds 5 --min-samples 10 --budget none --cell-limit none",
            ],
            device: DeviceKind::Cuda,
            cells: &[(Method::Relative, 20_000), (Method::Ordinary, 5000), (Method::Autodiff, 1000)],
            figures: &["fig1-left", "speedup"],
        },
        seconds: [240.0, 3600.0],
        data: &[],
        claims: claims::time,
    },
    Part {
        name: "fig4",
        title: "Figure 4: memory during one gradient, D = 5,000",
        source: Source::Sweep {
            flags: [
                "--dims 256 --methods relative,autodiff --batch 4 MEMORY",
                "--dims 2000 --methods relative,autodiff MEMORY",
                "--dims 5000 --methods relative,autodiff MEMORY",
            ],
            device: DeviceKind::Cpu,
            cells: &[(Method::Relative, 5000), (Method::Autodiff, 5000)],
            figures: &["fig4"],
        },
        seconds: [20.0, 330.0],
        data: &[],
        claims: claims::memory,
    },
    Part {
        name: "bounds",
        title: "Appendix H.1: memory at D = 20,000",
        source: Source::Sweep {
            flags: [
                "--dims 16 --methods relative,relative-inplace,ordinary --batch 4 MEMORY",
                "--dims 5000 --methods relative,relative-inplace,ordinary MEMORY",
                "--dims 5000,20000 --methods relative,relative-inplace,ordinary MEMORY",
            ],
            device: DeviceKind::Cpu,
            cells: &[(Method::Relative, 20_000), (Method::Ordinary, 20_000)],
            figures: &[],
        },
        seconds: [10.0, 240.0],
        data: &[],
        claims: claims::bounds,
    },
    Part {
        name: "bounds-sequence",
        title: "Appendix H.1: memory of full Jacobians one after the other, D = 20,000",
        source: Source::Sweep {
            flags: [
                "--dims 16 --methods autodiff-streamed --batch 1 MEMORY",
                "--dims 5000 --methods autodiff-streamed --batch 1 MEMORY",
                "--dims 20000 --methods autodiff-streamed --batch 1 MEMORY",
            ],
            device: DeviceKind::Cpu,
            cells: &[(Method::AutodiffStreamed, 20_000)],
            figures: &[],
        },
        seconds: [8.0, 300.0],
        data: &[],
        claims: claims::bounds_in_sequence,
    },
    experiment("fig1-right", "Figure 1 (right): training from the same starts", [60.0, 200.0], &[], claims::starts),
    experiment("fig2", "Figure 2: toy densities", [60.0, 1200.0], &[], claims::densities),
    experiment("fig5", "Figure 5: more toy densities", [60.0, 2300.0], &[], claims::densities),
    experiment("fig6", "Figure 6: MNIST during training", [90.0, 330.0], &["mnist"], claims::learning_curves),
    experiment(
        "table1",
        "Table 1: test log-likelihoods",
        [60.0, 1800.0],
        &["power", "power-subset", "gas", "hepmass", "miniboone", "miniboone-subset", "bsds300", "mnist"],
        claims::likelihoods,
    ),
    experiment("mnist-epoch", "Appendix H.3: seconds for an epoch", [110.0, 320.0], &["mnist"], claims::epochs),
    experiment(
        "primitives",
        "Appendix C: exponents of the operations and of full Jacobians",
        [60.0, 600.0],
        &[],
        claims::primitives,
    ),
    experiment("errata", "Errata: formulas as printed", [1.0, 1.0], &[], claims::errata),
];

const fn experiment(
    name: &'static str,
    title: &'static str,
    seconds: [f64; 2],
    data: &'static [&'static str],
    claims: fn() -> Vec<Claim>,
) -> Part {
    Part { name, title, source: Source::Experiment, seconds, data, claims }
}

impl Part {
    /// The words of its command behind `relgrad`, but for `--out` and the like.
    pub(crate) fn words(&self, effort: Effort) -> Vec<String> {
        let split = |words: &str| words.split_whitespace().map(str::to_string).collect::<Vec<_>>();
        match &self.source {
            Source::Sweep { flags: [smoke, quick, full], .. } => {
                split(&format!("sweep {}", effort.pick(smoke, quick, full).replace("MEMORY", MEMORY)))
            }
            Source::Experiment => split(&format!("experiment {} --effort {}", self.name, effort.name())),
        }
    }

    pub(crate) fn predicted_seconds(&self, effort: Effort) -> f64 {
        effort.pick(1.0, self.seconds[0], self.seconds[1])
    }

    /// The cells that make a sweep this part; all sizes of a quick run are its own.
    pub(crate) fn required_cells(&self, effort: Effort) -> &'static [(Method, usize)] {
        match &self.source {
            Source::Sweep { cells, .. } if effort == Effort::Full => cells,
            _ => &[],
        }
    }
}
