//! How near steps are to where they stop being stable \[M86\], estimated now and then while a network learns.
//!
//! λ is the sharpness of the loss of one batch, the one of the next step. The largest eigenvalue of a mean is at most
//! the mean of the largest ones, so that λ of a batch is above that of all data. What an iteration has not found of it
//! yet works the other way.

use std::fmt;
use std::str::FromStr;

use relgrad_kernels::layer::Coupling;
use relgrad_kernels::optimizer::{DirectionAt, Preconditioner, Sharpness};
use relgrad_kernels::parameters::{Gradient, Parameters};
use relgrad_kernels::{Cpu, Method, Result, Scalar};
use serde::{Deserialize, Serialize};

use super::recipe::Optimizer;
use crate::error::{self, Error as Failure};

/// What is done about the edge of stability, as the command line has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Edge {
    /// The step size keeps below this share of the limit.
    Below(f64),
    /// It is watched.
    Off,
    /// Nothing, and nothing is estimated.
    Unseen,
}

impl Edge {
    /// Its word in the settings of a training.
    pub(crate) fn word(self) -> Option<String> {
        (self != Self::Unseen).then(|| self.to_string())
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(share) => write!(f, "{share}"),
            Self::Off => f.write_str("off"),
            Self::Unseen => f.write_str("none"),
        }
    }
}

impl FromStr for Edge {
    type Err = Failure;

    fn from_str(text: &str) -> error::Result<Self> {
        match (text, text.parse::<f64>()) {
            ("off", _) => Ok(Self::Off),
            ("none", _) => Ok(Self::Unseen),
            (_, Ok(share)) if 0.0 < share && share <= 1.0 => Ok(Self::Below(share)),
            _ => Err(Failure::Usage(format!(
                "unknown edge `{text}`: it is a share of the limit of stable steps, above 0 and up to 1, off, or none"
            ))),
        }
    }
}

/// Whether the sharpness of a method's steps can be estimated: not of those that keep numbers beside the weights, nor
/// where every direction has other probes, so that a difference of two is noise.
pub(crate) fn is_estimable(method: Method) -> bool {
    !method.keeps_state() && method != Method::Hutchinson
}

/// Steps from one estimate to the next: with four directions each, they are one in a hundred.
pub(crate) const PERIOD: u64 = 400;
/// Iterations of the first estimate in a long training.
const FIRST: u64 = 10;

/// Whether an estimate is due before step t, from 0. With Adam the first one waits for its second moments to hold
/// something.
pub(super) fn is_due(step: u64, optimizer: Optimizer) -> bool {
    step.is_multiple_of(PERIOD) && (step > 0 || optimizer == Optimizer::Sgd)
}

/// Iterations of an estimate that begins with noise, in a training of so many steps: another directions in a hundred,
/// but at least one.
pub(super) fn first_iterations(steps: u64) -> usize {
    (steps / PERIOD).clamp(1, FIRST) as usize
}

/// The last values of λ, the newest last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Estimates(Vec<f64>);

impl Estimates {
    /// Values that are kept.
    const KEPT: usize = 3;

    pub(super) fn push(&mut self, lambda: f64) {
        self.0.push(lambda);
        let old = self.0.len().saturating_sub(Self::KEPT);
        self.0.drain(..old);
    }

    pub(super) fn last(&self) -> Option<f64> {
        self.0.last().copied()
    }

    /// What the step size follows: the middle one of three, the larger one of two. A batch with an outlier, which would
    /// hold the steps of a mean or a maximum down for three periods, moves it no further than its neighbours; a λ that
    /// grows is seen one period late, for which the share below the limit leaves room.
    pub(super) fn typical(&self) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }

    /// Whether these can be estimates.
    pub(super) fn are_possible(&self) -> bool {
        (1..=Self::KEPT).contains(&self.0.len()) && self.0.iter().all(|lambda| lambda.is_finite())
    }
}

/// What an estimate takes beside the parameters.
pub(crate) struct Probe<T: Scalar, C: Coupling<Cpu, T>> {
    pub(super) sharpness: Sharpness<Cpu, T, C>,
    pub(super) estimates: Estimates,
}

/// A direction to differentiate, memory for one, and what becomes of it.
pub(super) struct Probed<'a, 'd, T: Scalar, C: Coupling<Cpu, T>> {
    pub(super) direction: &'a mut DirectionAt<'d, Cpu, T, C>,
    pub(super) scratch: &'a mut Gradient<Cpu, T>,
    pub(super) preconditioner: Preconditioner<'a, Cpu, T>,
}

impl<T: Scalar, C: Coupling<Cpu, T>> Probe<T, C> {
    pub(super) fn new(device: &Cpu, parameters: &Parameters<Cpu, T, C>) -> Result<Self> {
        Ok(Self { sharpness: Sharpness::new(device, parameters)?, estimates: Estimates::default() })
    }

    /// Forgets everything.
    pub(super) fn restart(&mut self, device: &Cpu) -> Result<()> {
        self.estimates = Estimates::default();
        self.sharpness.restart(device)
    }

    /// Estimates λ; nothing is learned where a difference leaves the numbers.
    pub(super) fn estimate(
        &mut self,
        device: &Cpu,
        parameters: &Parameters<Cpu, T, C>,
        of: Probed<'_, '_, T, C>,
        steps: u64,
    ) -> Result<()> {
        let Probed { direction, scratch, preconditioner } = of;
        let iterations = if self.sharpness.state().is_some() { 1 } else { first_iterations(steps) };
        match self.sharpness.estimate(device, parameters, &preconditioner, scratch, direction, iterations) {
            Ok(lambda) => lambda.into_iter().for_each(|lambda| self.estimates.push(lambda)),
            Err(relgrad_kernels::Error::NonFinite { .. } | relgrad_kernels::Error::Singular { .. }) => {}
            Err(other) => return Err(other),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_and_nonsense_is_named() {
        for edge in [Edge::Below(0.5), Edge::Below(1.0), Edge::Off, Edge::Unseen] {
            assert_eq!(edge.to_string().parse::<Edge>().unwrap(), edge);
        }
        assert_eq!((Edge::Unseen.word(), Edge::Off.word()), (None, Some("off".to_string())));
        for text in ["", "0", "1.5", "-0.5", "nan", "on"] {
            let told = text.parse::<Edge>().unwrap_err().to_string();
            assert!(told.contains(&format!("`{text}`")), "{told}");
        }
    }

    #[test]
    fn one_batch_with_an_outlier_does_not_move_the_step_size() {
        let mut estimates = Estimates::default();
        assert_eq!((estimates.typical(), estimates.last()), (None, None));
        for (lambda, typical) in [(4.0, 4.0), (3.0, 4.0), (900.0, 4.0), (5.0, 5.0), (4.5, 5.0), (4.0, 4.5)] {
            estimates.push(lambda);
            assert_eq!((estimates.typical(), estimates.last()), (Some(typical), Some(lambda)));
        }
        assert!(estimates.are_possible() && !Estimates::default().are_possible());
    }

    /// The directions of all estimates over those of the training, where it has some hundred steps.
    #[test]
    fn estimates_cost_two_per_cent() {
        for steps in [800, 4000, 10_000, 1_000_000] {
            let due = (0..steps).filter(|&step| is_due(step, Optimizer::Sgd)).count();
            let directions = 1 + 4 * (due - 1 + first_iterations(steps));
            assert!(directions as f64 <= 0.02 * steps as f64 + 1.0, "{steps}: {directions}");
        }
        assert!(!is_due(0, Optimizer::Adam) && is_due(PERIOD, Optimizer::Adam) && !is_due(1, Optimizer::Sgd));
    }
}
