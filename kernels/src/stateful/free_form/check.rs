//! The step in f64, through passes of its own.

use nalgebra::DMatrix;

use super::FreeForm;
use crate::check::{Check, tolerance, worst};
use crate::device::{Device, Matrix};
use crate::elementwise::reference as scalar;
use crate::error::Result;
use crate::parameters::{Arrays, Parameters};
use crate::scalar::Scalar;
use crate::stateful::Stateful;
use crate::stateful::checking::{Move, Multiplier, Passed, gentle, mean_column, probe, wide};

/// The moves of a network's arrays, or of the decoder's.
#[derive(Default)]
pub(super) struct Moves {
    weights: Vec<Move>,
    biases: Vec<Move>,
    /// The size of terms that cancel in the adjoints.
    cancelled: f64,
}

/// Takes a step and compares all arrays' moves with [`expected`].
pub(super) fn step<D: Device<T>, T: Scalar>(
    state: &mut FreeForm<D, T>,
    device: &D,
    parameters: &mut Parameters<D, T>,
    x: &Matrix<D, T>,
    mu: f64,
) -> Result<Check> {
    state.draw(device)?;
    let source = state.source.take();
    let expected = expected(state, device, parameters, wide(device, x)?)?;
    let weights = expected.iter().flat_map(|moves| &moves.weights);
    let mu = gentle(mu, weights.map(|moved| (&moved.before, &moved.direction)));
    let stepped = state.step(device, parameters, x.view().into(), mu).map(|_| ());
    state.source = source;
    stepped?;
    judge(state, device, parameters, &expected, (mu, x.cols()))
}

/// What the last step, of length `mu` on so many samples, did to network and decoder.
pub(super) fn judge<D: Device<T>, T: Scalar>(
    state: &FreeForm<D, T>,
    device: &D,
    parameters: &Parameters<D, T>,
    expected: &[Moves; 2],
    (mu, samples): (f64, usize),
) -> Result<Check> {
    let probe = probe(parameters.architecture().dim);
    let mut errors = Vec::new();
    for (Moves { weights, biases, .. }, arrays) in expected.iter().zip([&parameters.arrays, &state.decoder]) {
        for (moved, weight) in weights.iter().zip(&arrays.weights) {
            let after = Multiplier::new(device, weight)?.push(&probe)?;
            errors.push(moved.error::<D, T>(device, &after, mu, samples));
        }
        for (moved, bias) in biases.iter().zip(&arrays.biases) {
            errors.push(moved.error::<D, T>(device, &wide(device, bias)?, mu, samples));
        }
    }
    let kind = if probe.ncols() > 1 { "reference" } else { "random-vector" };
    Ok(Check { kind, max_rel_err: worst(errors), tolerance: tolerance(device.math()) })
}

/// \[M59\], probe by probe.
pub(super) fn expected<D: Device<T>, T: Scalar>(
    state: &FreeForm<D, T>,
    device: &D,
    parameters: &Parameters<D, T>,
    x: DMatrix<f64>,
) -> Result<[Moves; 2]> {
    let architecture = parameters.architecture();
    let (layers, samples) = (architecture.layers, x.ncols());
    let is_nonlinear = |k| architecture.is_nonlinear(k);
    let encoded = Passed::new(device, (architecture, &parameters.arrays), is_nonlinear, x.clone())?;
    let latents = encoded.inputs[layers].clone();
    let decoded = Passed::new(device, (architecture, &state.decoder), |d| d + 1 < layers, latents)?;
    let all = wide(device, &state.probes)?;
    let probes: Vec<DMatrix<f64>> =
        (0..all.ncols() / samples).map(|probe| all.columns(probe * samples, samples).into_owned()).collect();
    // t of every probe, after every layer of the network.
    let mut tangents: Vec<Vec<DMatrix<f64>>> = Vec::new();
    for probe in &probes {
        let mut tangent = probe.clone();
        for (weight, through) in state.decoder.weights.iter().zip(&decoded.activated) {
            tangent = Multiplier::new(device, weight)?.push(&tangent)?.component_mul(&through.slope);
        }
        let mut trail = vec![tangent];
        for (k, through) in encoded.activated.iter().enumerate() {
            let pushed = Multiplier::new(device, &parameters.arrays.weights[k])?.push(&trail[k])?;
            trail.push(pushed.component_mul(&through.slope));
        }
        tangents.push(trail);
    }
    // x and h(f(x)) may be close.
    let cancelled = 2.0 * state.settings.beta * x.amax();
    let mut of_decoder = Moves { cancelled, ..Moves::default() };
    let mut adjoint = (x - &decoded.inputs[layers]) * (2.0 * state.settings.beta);
    for d in (0..layers).rev() {
        of_decoder.add(device, &state.decoder, d, &[(&adjoint, &decoded.inputs[d])], &adjoint)?;
        adjoint = Multiplier::new(device, &state.decoder.weights[d])?.pull(&adjoint)?;
        if d > 0 {
            adjoint.component_mul_assign(&decoded.activated[d - 1].slope);
        }
    }
    adjoint += encoded.inputs[layers].map(|z| scalar::score(architecture.base, z));
    let mut of_network = Moves { cancelled, ..Moves::default() };
    let mut of_probes = probes;
    for k in (0..layers).rev() {
        let through = &encoded.activated[k];
        adjoint.component_mul_assign(&through.slope);
        for (bar, trail) in of_probes.iter_mut().zip(&tangents) {
            adjoint += trail[k + 1].component_mul(bar).component_mul(&through.ratio);
            bar.component_mul_assign(&through.slope);
        }
        let of_probe = of_probes.iter().zip(&tangents).map(|(bar, trail)| (bar, &trail[k]));
        let factors: Vec<_> = of_probe.chain([(&adjoint, &encoded.inputs[k])]).collect();
        of_network.add(device, &parameters.arrays, k, &factors, &adjoint)?;
        let weight = Multiplier::new(device, &parameters.arrays.weights[k])?;
        for bar in &mut of_probes {
            *bar = weight.pull(bar)?;
        }
        adjoint = weight.pull(&adjoint)?;
    }
    Ok([of_network.reversed(), of_decoder.reversed()])
}

impl Moves {
    /// Of layer k, whose direction is the mean of left rightᵀ over `factors`.
    fn add<D: Device<T>, T: Scalar>(
        &mut self,
        device: &D,
        arrays: &Arrays<D, T>,
        k: usize,
        factors: &[(&DMatrix<f64>, &DMatrix<f64>)],
        adjoint: &DMatrix<f64>,
    ) -> Result<()> {
        let probe = probe(adjoint.nrows());
        let before = Multiplier::new(device, &arrays.weights[k])?.push(&probe)?;
        let mut direction = DMatrix::zeros(probe.nrows(), probe.ncols());
        for (left, right) in factors {
            direction += *left * right.tr_mul(&probe) / adjoint.ncols() as f64;
        }
        let values = factors.last().map_or(0.0, |(_, values)| values.tr_mul(&probe).amax());
        self.weights.push(Move { before, direction, terms: self.cancelled * values });
        if let Some(bias) = arrays.biases.get(k) {
            self.biases.push(Move {
                before: wide(device, bias)?,
                direction: mean_column(adjoint),
                terms: self.cancelled,
            });
        }
        Ok(())
    }

    fn reversed(mut self) -> Self {
        self.weights.reverse();
        self.biases.reverse();
        self
    }
}
