//! A rule with its memory, and what it costs beside the gradient.

use super::{Adam, Moments, Momentum, Muon, Update, muon, plain_step};
use crate::UpdateRule;
use crate::cost::Cost;
use crate::error::Result;
use crate::layer::Geometry;
use crate::network::Architecture;
use crate::parameters::{Gradient, Parameters};
use crate::scalar::{Dtype, Scalar};

/// A rule with its memory.
pub enum Updater<D: Update<T>, T: Scalar> {
    /// θ ← θ + μΔθ.
    Plain,
    /// Adam with its moments.
    Adam(Adam, Box<Moments<D, T>>),
    /// Muon with its momentum.
    Muon(Muon, Box<Momentum<D, T>>),
}

impl<D: Update<T>, T: Scalar> Updater<D, T> {
    /// Takes the memory of a rule, with the published parameters.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`]; [`crate::Error::ShapeMismatch`] for a rule that these layers have no form for.
    pub fn new<C: Geometry>(device: &D, rule: UpdateRule, architecture: &Architecture<C>) -> Result<Self> {
        Ok(match rule {
            UpdateRule::Plain => Self::Plain,
            UpdateRule::Adam => Self::Adam(Adam::default(), Box::new(Moments::zeros(device, architecture)?)),
            UpdateRule::Muon => Self::Muon(Muon::default(), Box::new(Momentum::zeros(device, architecture)?)),
        })
    }

    /// Moves the parameters along a direction; allocates nothing.
    ///
    /// # Errors
    /// Those of the rule.
    pub fn step<C>(
        &mut self,
        device: &D,
        parameters: &mut Parameters<D, T, C>,
        direction: &Gradient<D, T>,
        mu: f64,
    ) -> Result<()> {
        match self {
            Self::Plain => plain_step(device, parameters, direction, mu),
            Self::Adam(adam, moments) => adam.step(device, parameters, direction, mu, moments),
            Self::Muon(muon, momentum) => muon.step(device, parameters, direction, mu, momentum),
        }
    }
}

/// What a gradient of dense layers and the update by it cost together.
pub fn cost_of_update<C>(rule: UpdateRule, gradient: Cost, architecture: &Architecture<C>, dtype: Dtype) -> Cost {
    let (d, l) = (architecture.dim as f64, architecture.layers as f64);
    let square = d * d * dtype.bytes() as f64;
    // Operations, arrays of the parameters' size to keep, further squares, and reads and writes of such arrays.
    let (flops, kept, squares, passes) = match rule {
        UpdateRule::Plain => (2.0 * l * d * d, 0.0, 0.0, 3.0),
        UpdateRule::Adam => (12.0 * l * d * d, 2.0, 0.0, 7.0),
        UpdateRule::Muon => {
            let products = 3.0 * muon::ITERATIONS as f64;
            (2.0 * products * l * d.powi(3), 1.0, 4.0, 5.0 + 3.0 * products)
        }
    };
    Cost {
        flops: gradient.flops + flops,
        min_bytes: gradient.min_bytes + kept * l * square,
        min_traffic_bytes: gradient.min_traffic_bytes + passes * l * square,
        expected_bytes: gradient.expected_bytes + (kept * l + squares) * square,
    }
}
