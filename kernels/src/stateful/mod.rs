//! Methods that keep numbers beside the weights, such as inverses, and advance both with every step (RIVALS.md §19).
//!
//! Each is one file here. What a state costs to begin with may be cubic in D; a step is not.

mod checking;
pub mod free_form;
mod guard;
mod inverses;
mod ordinary;
mod relative;
mod self_normalizing;
mod sketch;
mod system;

pub use free_form::{FreeForm, FreeFormSettings};
pub use ordinary::OrdinaryCarried;
pub use relative::RelativeCarried;
pub use self_normalizing::{Constraint, SelfNormalizing};
pub use sketch::{Control, Design, Sketch};

use crate::Tuned;
use crate::check::Check;
use crate::device::{Device, Matrix};
use crate::error::{Error, Result};
use crate::layer::{Coupling, Dense};
use crate::method::Method;
use crate::parameters::{Batch, Parameters};
use crate::scalar::Scalar;
use crate::step::{InPlaceStep, StepReport};

/// The steps of one method, with its state and work memory.
pub trait Stateful<D: Device<T>, T: Scalar, C: Coupling<D, T> = Dense> {
    /// Moves the parameters and the state by one plain step of length `mu`. Allocates nothing.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless `mu` is positive and finite; [`Error::ShapeMismatch`];
    /// [`Error::NonFinite`], [`Error::Singular`], after which parameters and state are of no more use.
    fn step(
        &mut self,
        device: &D,
        parameters: &mut Parameters<D, T, C>,
        batch: Batch<'_, D, T>,
        mu: f64,
    ) -> Result<&StepReport>;

    /// Begins anew from parameters that somebody else has set.
    ///
    /// # Errors
    /// [`Error::Singular`]; those of the device.
    fn restart(&mut self, device: &D, parameters: &Parameters<D, T, C>) -> Result<()>;

    /// Takes one step of length `mu` and compares what it did, to the parameters and to the state, with an independent
    /// computation.
    ///
    /// # Errors
    /// Those of [`Self::step`]. A result that is merely wrong is no error: see [`Check::passed`].
    fn check(&mut self, device: &D, parameters: &mut Parameters<D, T, C>, x: &Matrix<D, T>, mu: f64) -> Result<Check>;

    /// ‖R_k W_k − I‖_F/√D of the layer where it is largest, estimated by products with random vectors \[M34\], for a
    /// method that keeps R_k ≈ W_k⁻¹; `None` for others. Waits for the device.
    ///
    /// # Errors
    /// Those of the device.
    fn inverse_error(&mut self, _device: &D, _parameters: &Parameters<D, T, C>) -> Result<Option<f64>> {
        Ok(None)
    }

    /// log|det W_k| of every layer, where the state carries it.
    fn log_abs_dets(&self) -> Option<&[f64]> {
        None
    }
}

/// A method with its state at `parameters`, for batches of `batch` samples; what it draws at random follows from
/// `seed`.
///
/// # Errors
/// [`Error::OutOfMemory`]; [`Error::Singular`]; [`Error::ShapeMismatch`] for a method that keeps no state.
pub(crate) fn begin<D: Device<T> + 'static, T: Scalar>(
    device: &D,
    Tuned { method, tuning }: Tuned,
    parameters: &Parameters<D, T>,
    (batch, seed): (usize, u64),
) -> Result<Box<dyn Stateful<D, T>>> {
    Ok(match method {
        Method::RelativeCarried => Box::new(RelativeCarried::new(device, parameters, batch, InPlaceStep::default())?),
        Method::OrdinaryCarried => {
            Box::new(OrdinaryCarried::new(device, parameters, (batch, seed), Sketch::tuned(tuning))?)
        }
        Method::SelfNormalizing => {
            Box::new(SelfNormalizing::new(device, parameters, batch, Constraint::tuned(tuning))?)
        }
        Method::FreeForm => {
            let settings = FreeFormSettings { seed, ..FreeFormSettings::tuned(tuning) };
            Box::new(FreeForm::new(device, parameters, batch, settings)?)
        }
        _ => return Err(Error::shape("steps with a state", "a method that keeps one", method)),
    })
}
