//! Appendix C: the operations that gradients consist of, their times and exponents.
//!
//! All run through the operations of the device, as in a gradient, and each result is checked before it is timed. A
//! round goes once through all operations and dimensions; all rounds are of one process.

use std::time::Instant;

use relgrad_kernels::device::{Addend, Device, Inversion, Matrix, MatrixRef};
use relgrad_kernels::{Activation, Architecture, Cpu, Init, init};
use relgrad_reports::experiment::Dot;
use relgrad_reports::fit;
use relgrad_reports::statistics::{Processes, median_estimate};
use relgrad_reports::units::{self, grouped};
use serde_json::json;

use super::{Context, Effort, Findings, dots, table, texts};
use crate::error::{Error, Result};
use crate::measure::cell::sampling::{self, Rules};
use crate::measure::roofline::operations::numbers;

/// An operation, with what Appendix C says of it.
pub(crate) struct Primitive {
    pub(crate) name: &'static str,
    what: &'static str,
    /// p of O(Dᵖ).
    pub(crate) paper: f64,
    prepare: fn(Cpu, usize) -> Kernels<Checked>,
}

type Block = Matrix<Cpu, f32>;
type Kernels<T> = relgrad_kernels::Result<T>;
type Work = Box<dyn FnMut() -> Kernels<()> + Send>;

/// Something to time, and the relative error of its result.
struct Checked {
    work: Work,
    error: f64,
}

pub(crate) static PRIMITIVES: [Primitive; 7] = [
    Primitive { name: "matrix-vector", what: "W v", paper: 2.0, prepare: matrix_vector },
    Primitive { name: "outer product", what: "u vᵀ", paper: 2.0, prepare: outer_product },
    Primitive { name: "product", what: "A B", paper: 3.0, prepare: product },
    Primitive { name: "inverse", what: "A⁻ᵀ by LU", paper: 3.0, prepare: inverse },
    Primitive { name: "determinant", what: "log|det A| by LU, in f64", paper: 3.0, prepare: determinant },
    Primitive {
        name: "jacobian-forward",
        what: "D Jacobian–vector products, L = 2",
        paper: 3.0,
        prepare: forward_mode,
    },
    Primitive {
        name: "jacobian-reverse",
        what: "D vector–Jacobian products, L = 2",
        paper: 3.0,
        prepare: reverse_mode,
    },
];

/// A wrong entry, factor or transpose errs by about 1.
const TOLERANCE: f64 = 1e-3;

/// Those of O(D²) are bound by memory: from D = 5,000 on (100 MB) their matrices are in no cache.
fn dims(paper: f64, effort: Effort) -> &'static [usize] {
    match paper {
        2.0 => effort.pick(
            &[16, 24, 32][..],
            &[5000, 7000, 10_000, 14_000],
            &[5000, 6000, 7000, 8500, 10_000, 12_000, 14_000, 17_000, 20_000],
        ),
        _ => effort.pick(
            &[16, 24, 32][..],
            &[500, 700, 1000, 1400, 2000],
            &[500, 700, 1000, 1400, 2000, 2800, 4000, 5000],
        ),
    }
}

/// The samples of one operation at one D, by rounds.
type Cells = Vec<(usize, Vec<Vec<f64>>)>;

pub(crate) fn run(context: &mut Context<'_>) -> Result<Findings> {
    let rounds = context.effort.pick(2, 3, 5);
    let rules = Rules {
        min_samples: context.effort.pick(3, 5, 10),
        sampling_seconds: context.effort.pick(0.0, 0.1, 1.0),
        cell_seconds: None,
        deadline_seconds: None,
    };
    let mut cells: Vec<Cells> = PRIMITIVES
        .iter()
        .map(|of| dims(of.paper, context.effort).iter().map(|&dim| (dim, Vec::new())).collect())
        .collect();
    let mut errors = [0.0_f64; PRIMITIVES.len()];
    for round in 0..rounds {
        for (at, primitive) in PRIMITIVES.iter().enumerate() {
            for (dim, samples) in &mut cells[at] {
                context.check_interrupt()?;
                let (error, seconds) = measure(primitive, *dim, context.threads, &rules)?;
                errors[at] = errors[at].max(error);
                samples.push(seconds);
            }
            context.say(&format!("{}, round {} of {rounds}", primitive.name, round + 1));
        }
    }
    Ok(findings(context, &cells, &errors))
}

/// The error of the result, and the samples.
fn measure(primitive: &Primitive, dim: usize, threads: usize, rules: &Rules) -> Result<(f64, Vec<f64>)> {
    let failed =
        |cause: relgrad_kernels::Error| Error::Output(format!("{} at D = {}: {cause}", primitive.name, grouped(dim)));
    let timed = || -> Kernels<(f64, Vec<f64>)> {
        let Checked { mut work, error } = (primitive.prepare)(Cpu::new(threads), dim)?;
        let start = Instant::now();
        let now = || start.elapsed().as_secs_f64();
        work()?;
        let warm = sampling::warm_up(&mut work, now, now())?;
        Ok((error, sampling::sample(&mut work, now, &warm, rules, || Ok(()))?))
    };
    // On a thread of the pool, as a cell's process does.
    let (error, seconds) = rayon::scope(|_| timed()).map_err(failed)?;
    if error.is_nan() || error > TOLERANCE {
        let (name, dim) = (primitive.name, grouped(dim));
        return Err(Error::Wrong(format!("{name} at D = {dim} is wrong: its relative error is {error:.1e}")));
    }
    Ok((error, seconds))
}

fn findings(context: &Context<'_>, cells: &[Cells], errors: &[f64]) -> Findings {
    let (mut rows, mut shown, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for ((of, cells), error) in PRIMITIVES.iter().zip(cells).zip(errors) {
        let places: Vec<(usize, Processes)> =
            cells.iter().map(|(dim, rounds)| (*dim, Processes::of_rounds(rounds))).collect();
        let range = fit::asymptotic_range(&places.iter().map(|place| place.0).collect::<Vec<_>>());
        let fitted = range.and_then(|range| fit::exponent(&fit::observe(&places), range));
        let last = places.last().and_then(|(dim, processes)| Some((*dim, median_estimate(processes)?)));
        rows.push(texts([
            of.name,
            of.what,
            &fitted.map_or(units::NONE.to_string(), |fit| units::exponent(&fit.exponent)),
            &fitted.map_or(units::NONE.to_string(), |fit| format!("{} – {}", grouped(fit.from), grouped(fit.to))),
            &last.map_or(units::NONE.to_string(), |(dim, time)| {
                format!("{} at D = {}", units::seconds_estimate(&time), grouped(dim))
            }),
            &units::scientific(*error),
        ]));
        let medians = |processes: &Processes| processes.medians().map(|(_, median)| median).collect::<Vec<_>>();
        found.push(json!({ "primitive": of.name, "paper_exponent": of.paper, "check_max_rel_err": error,
            "exponent": fitted.map(|fit| fit.exponent), "from": fitted.map(|fit| fit.from),
            "to": fitted.map(|fit| fit.to),
            "times": places.iter().map(|(dim, p)| json!({ "dim": dim, "round_median_seconds": medians(p),
                "samples": p.samples() })).collect::<Vec<_>>() }));
        shown.push(Dot {
            name: of.name.to_string(),
            value: fitted.map(|fit| fit.exponent.value - of.paper),
            interval: fitted.map(|fit| (fit.exponent.low - of.paper, fit.exponent.high - of.paper)),
            note: format!("paper: {}", of.paper),
        });
    }
    let columns = ["operation", "", "exponent p [95 %]", "fitted on D", "time [95 %]", "check error"];
    Findings {
        numbers: json!({ "primitives": found }),
        table: table(columns, rows),
        notes: notes(context),
        figure: dots("exponent, ours minus the paper’s", Some("the paper"), shown),
    }
}

fn notes(context: &Context<'_>) -> Vec<String> {
    let setting = format!(
        "f32, {}, rounds in one process: the intervals lack what processes scatter among each other.",
        units::counted(context.threads, "thread")
    );
    texts([
        &setting,
        "An operation of D³ has time (2D³/F)(1 + D_h/D): its exponent over a range is below 3 by what D_h, the D of \
         half the peak rate, adds at its lower end. A fitted 2.9 is no Strassen (2.807 at every D).",
        "Jacobians: y = W₂σ(W₁x) of one sample, from D unit vectors, as `jacfwd` and `jacrev` do; the flops are the \
         same, 4D³, and the side on which W stands differs.",
    ])
}

/// A matrix of normal numbers in no order that a product could profit from.
fn block(device: &Cpu, rows: usize, cols: usize) -> Kernels<Block> {
    numbers(device, rows, cols)
}

fn zeros(device: &Cpu, rows: usize, cols: usize) -> Kernels<Block> {
    Matrix::zeros(device, rows, cols, "result of an operation")
}

/// c ← a b, with a as it is or transposed.
fn times(device: &Cpu, (a, transposed): (&Block, bool), b: &Block, c: &mut Block) -> Kernels<()> {
    let a = if transposed { a.view().transposed() } else { a.view().plain() };
    device.multiply(1.0, a, b.view().plain(), Addend::Zero, c.view_mut())
}

/// a b for a D×1 matrix b.
fn applied(device: &Cpu, a: (&Block, bool), b: &Block) -> Kernels<Block> {
    let mut c = zeros(device, b.rows(), 1)?;
    times(device, a, b, &mut c)?;
    Ok(c)
}

/// s ⊙ v for D×1 matrices.
fn scaled(device: &Cpu, s: &Block, v: &Block) -> Kernels<Block> {
    let (s, v) = (device.to_host(s.view())?, device.to_host(v.view())?);
    let product: Vec<f32> = s.iter().zip(&v).map(|(s, v)| s * v).collect();
    Matrix::from_column_major(device, &product, product.len(), 1, "expected")
}

/// ‖a − b‖/‖b‖.
fn difference(device: &Cpu, a: &Block, b: &Block) -> Kernels<f64> {
    let host = |m: &Block| -> Kernels<Vec<f64>> { Ok(device.to_host(m.view())?.into_iter().map(f64::from).collect()) };
    let (a, b) = (host(a)?, host(b)?);
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    Ok(norm(&mut a.iter().zip(&b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied()))
}

/// aᵀb in f64.
fn dot(device: &Cpu, a: &Block, b: &Block) -> Kernels<f64> {
    let (a, b) = (device.to_host(a.view())?, device.to_host(b.view())?);
    Ok(a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum())
}

/// Checked: y = W v in a few rows, on the host.
fn matrix_vector(device: Cpu, dim: usize) -> Kernels<Checked> {
    const ROWS: usize = 8;
    let (w, v, mut y) = (block(&device, dim, dim)?, block(&device, dim, 1)?, zeros(&device, dim, 1)?);
    times(&device, (&w, false), &v, &mut y)?;
    let (entries, v_host, y_host) = (w.view().slice(), device.to_host(v.view())?, device.to_host(y.view())?);
    let row = |i: usize| (0..dim).map(|j| f64::from(entries[j * dim + i]) * f64::from(v_host[j])).sum::<f64>();
    let size = device.frobenius_norm(y.view())? / (dim as f64).sqrt();
    let errors =
        (0..ROWS.min(dim)).map(|i| (row(i * dim / ROWS.min(dim)) - f64::from(y_host[i * dim / ROWS.min(dim)])).abs());
    let error = errors.fold(0.0, f64::max) / size;
    Ok(Checked { error, work: Box::new(move || times(&device, (&w, false), &v, &mut y)) })
}

/// Checked: (u vᵀ) t = u (vᵀ t).
fn outer_product(device: Cpu, dim: usize) -> Kernels<Checked> {
    let [u, v] = [block(&device, dim, 1)?, block(&device, 2 * dim, 1)?];
    let v = Matrix::from_column_major(&device, &device.to_host(v.view())?[dim..], dim, 1, "factor")?;
    let mut c = zeros(&device, dim, dim)?;
    let outer = move |u: &Block, v: &Block, c: &mut Block| {
        device.multiply(1.0, u.view().plain(), v.view().transposed(), Addend::Zero, c.view_mut())
    };
    outer(&u, &v, &mut c)?;
    let found = applied(&device, (&c, false), &u)?;
    let along = dot(&device, &v, &u)?;
    let scaled: Vec<f32> = device.to_host(u.view())?.iter().map(|u| (f64::from(*u) * along) as f32).collect();
    let expected = Matrix::from_column_major(&device, &scaled, dim, 1, "expected")?;
    let error = difference(&device, &found, &expected)?;
    Ok(Checked { error, work: Box::new(move || outer(&u, &v, &mut c)) })
}

/// Checked: (A B) v = A (B v).
fn product(device: Cpu, dim: usize) -> Kernels<Checked> {
    let [a, b] = [block(&device, dim, dim)?, weight(&device, dim, 1)?];
    let (v, mut c) = (block(&device, dim, 1)?, zeros(&device, dim, dim)?);
    times(&device, (&a, false), &b, &mut c)?;
    let expected = applied(&device, (&a, false), &applied(&device, (&b, false), &v)?)?;
    let error = difference(&device, &applied(&device, (&c, false), &v)?, &expected)?;
    Ok(Checked { error, work: Box::new(move || times(&device, (&a, false), &b, &mut c)) })
}

/// An orthogonal weight.
fn weight(device: &Cpu, dim: usize, seed: u64) -> Kernels<Block> {
    let mut network = init::network::<_, f32, _>(device, &Architecture::new(dim, 1), Init::Orthogonal, seed)?;
    Ok(network.arrays_mut().weights.swap_remove(0))
}

/// diag(s) Q with Q orthogonal and s between 1 and 2, and Σ log s, which is log|det|.
fn scaled_weight(device: &Cpu, dim: usize) -> Kernels<(Block, f64)> {
    let scales: Vec<f32> = (0..dim).map(|i| 1.0 + (1 + i * 7919 % 101) as f32 / 101.0).collect();
    let s = Matrix::from_column_major(device, &scales, dim, 1, "scales")?;
    let mut w = weight(device, dim, 1)?;
    device.scale_rows_in_place(s.view(), w.view_mut())?;
    Ok((w, scales.iter().map(|s| f64::from(*s).ln()).sum()))
}

/// The copy that restores the overwritten A is in the time. Checked: Aᵀ (A⁻ᵀ v) = v.
fn inverse(device: Cpu, dim: usize) -> Kernels<Checked> {
    let (a, _) = scaled_weight(&device, dim)?;
    let (v, mut factors, mut out) = (block(&device, dim, 1)?, zeros(&device, dim, dim)?, zeros(&device, dim, dim)?);
    let mut work = Device::<f32>::factorization(&device, dim, 1)?;
    let mut report = [Inversion { log_abs_det: 0.0, condition: 0.0 }];
    let mut invert = move |a: MatrixRef<'_, Cpu, f32>, out: &mut Block| {
        device.copy(a, factors.view_mut())?;
        device.invert_transposed(factors.view_mut(), out.view_mut(), &mut work, &mut report)
    };
    invert(a.view(), &mut out)?;
    let back = applied(&device, (&a, true), &applied(&device, (&out, false), &v)?)?;
    let error = difference(&device, &back, &v)?;
    Ok(Checked { error, work: Box::new(move || invert(a.view(), &mut out)) })
}

/// Checked against the scales of the matrix.
fn determinant(device: Cpu, dim: usize) -> Kernels<Checked> {
    let (a, expected) = scaled_weight(&device, dim)?;
    let error = (device.log_abs_det(a.view())? / expected - 1.0).abs();
    Ok(Checked { error, work: Box::new(move || device.log_abs_det(a.view()).map(drop)) })
}

/// y = W₂σ(W₁x) at one sample, with the slope σ'(W₁x) and the D unit vectors.
struct Layers {
    weights: [Block; 2],
    x: Block,
    y: Block,
    slope: Block,
    ratio: Block,
    units: Block,
    inner: Block,
    jacobian: Block,
}

impl Layers {
    fn new(device: &Cpu, dim: usize) -> Kernels<Self> {
        let column = || zeros(device, dim, 1);
        let mut ones = vec![0.0_f32; dim * dim];
        ones.iter_mut().step_by(dim + 1).for_each(|entry| *entry = 1.0);
        Ok(Self {
            weights: [weight(device, dim, 1)?, weight(device, dim, 2)?],
            x: block(device, dim, 1)?,
            y: column()?,
            slope: column()?,
            ratio: column()?,
            units: Matrix::from_column_major(device, &ones, dim, dim, "unit vectors")?,
            inner: zeros(device, dim, dim)?,
            jacobian: zeros(device, dim, dim)?,
        })
    }

    /// J, or in reverse mode Jᵀ: every unit vector goes through both layers.
    fn differentiate(&mut self, device: &Cpu, reverse: bool) -> Kernels<()> {
        const ACTIVATION: Activation = Activation::SmoothLeaky { alpha: 0.3 };
        let Self { weights: [first, second], x, y, slope, ratio, units, inner, jacobian } = self;
        times(device, (first, false), x, y)?;
        device.slope_and_ratio(ACTIVATION, y.view(), slope.view_mut(), ratio.view_mut())?;
        let [near, far] = if reverse { [&*second, &*first] } else { [&*first, &*second] };
        times(device, (near, reverse), units, inner)?;
        device.scale_rows_in_place(slope.view(), inner.view_mut())?;
        times(device, (far, reverse), inner, jacobian)
    }

    /// The error of J v, or of Jᵀ v, against the layers' products with v one after the other.
    fn error(&mut self, device: &Cpu, reverse: bool) -> Kernels<f64> {
        self.differentiate(device, reverse)?;
        let [near, far] = if reverse { [1, 0] } else { [0, 1] };
        let inner = scaled(device, &self.slope, &applied(device, (&self.weights[near], reverse), &self.x)?)?;
        let expected = applied(device, (&self.weights[far], reverse), &inner)?;
        difference(device, &applied(device, (&self.jacobian, false), &self.x)?, &expected)
    }
}

fn jacobian(device: Cpu, dim: usize, reverse: bool) -> Kernels<Checked> {
    let mut layers = Layers::new(&device, dim)?;
    let error = layers.error(&device, reverse)?;
    Ok(Checked { error, work: Box::new(move || layers.differentiate(&device, reverse)) })
}

fn forward_mode(device: Cpu, dim: usize) -> Kernels<Checked> {
    jacobian(device, dim, false)
}

fn reverse_mode(device: Cpu, dim: usize) -> Kernels<Checked> {
    jacobian(device, dim, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_right_and_a_wrong_one_is_found() {
        for primitive in &PRIMITIVES {
            for dim in [1, 2, 17, 130] {
                let found = (primitive.prepare)(Cpu::new(2), dim).unwrap();
                assert!(found.error < TOLERANCE, "{} at {dim}: {:e}", primitive.name, found.error);
            }
        }
        // Forward mode's result taken for reverse mode's.
        let device = Cpu::new(1);
        let mut layers = Layers::new(&device, 17).unwrap();
        layers.weights.swap(0, 1);
        assert!(layers.error(&device, false).unwrap() < TOLERANCE);
        let expected = applied(&device, (&layers.jacobian, true), &layers.x).unwrap();
        let found = applied(&device, (&layers.jacobian, false), &layers.x).unwrap();
        assert!(difference(&device, &found, &expected).unwrap() > 0.1);
    }

    #[test]
    fn a_wrong_operation_is_not_timed() {
        let wrong = Primitive {
            prepare: |device, dim| Ok(Checked { error: 0.5, ..determinant(device, dim)? }),
            name: "wrong",
            what: "",
            paper: 3.0,
        };
        let rules = Rules { min_samples: 1, sampling_seconds: 0.0, cell_seconds: None, deadline_seconds: None };
        assert!(measure(&wrong, 4, 1, &rules).unwrap_err().to_string().contains("wrong at D = 4"));
        assert_eq!(measure(&PRIMITIVES[0], 4, 1, &rules).unwrap().1.len(), 1);
    }
}
