//! Plain steps in place, whatever the group of the layers.

use relgrad_kernels::layer::{Coupling, ForGroup, Group, MaybeGroup};
use relgrad_kernels::parameters::{Batch, Parameters};
use relgrad_kernels::step::{self, InPlaceStep, LogDets};
use relgrad_kernels::{Architecture, Cpu, Result, Scalar};

/// Takes the work memory of a plain step for batches of so many samples.
///
/// # Errors
/// Not enough memory; layers that are no group.
pub(super) fn bind<T: Scalar, C: MaybeGroup<Cpu, T>>(
    step: InPlaceStep,
    device: &Cpu,
    architecture: &Architecture<C>,
    batch: usize,
) -> Result<Box<dyn Plain<T, C>>> {
    architecture.coupling.if_group(TakeMemory { step, device, architecture, batch })
}

/// A plain step with its work memory; only the value knows that the layers are a group.
pub(super) trait Plain<T: Scalar, C: Coupling<Cpu, T>> {
    /// Steps, and returns how many layers the guard held back.
    fn step(
        &mut self,
        device: &Cpu,
        parameters: &mut Parameters<Cpu, T, C>,
        batch: Batch<'_, Cpu, T>,
        mu: f64,
        log_dets: Option<&mut LogDets<T>>,
    ) -> Result<usize>;

    /// As [`InPlaceStep::settle`].
    fn settle(&mut self, device: &Cpu, parameters: &mut Parameters<Cpu, T, C>) -> Result<()>;
}

struct WithWork<T: Scalar, C: Group<Cpu, T>> {
    step: InPlaceStep,
    work: step::Workspace<Cpu, T, C>,
}

impl<T: Scalar, C: Group<Cpu, T>> Plain<T, C> for WithWork<T, C> {
    fn step(
        &mut self,
        device: &Cpu,
        parameters: &mut Parameters<Cpu, T, C>,
        batch: Batch<'_, Cpu, T>,
        mu: f64,
        log_dets: Option<&mut LogDets<T>>,
    ) -> Result<usize> {
        let report = self.step.step(device, parameters, batch, mu, &mut self.work, log_dets)?;
        Ok(report.step_sizes.iter().filter(|taken| **taken < mu).count())
    }

    fn settle(&mut self, device: &Cpu, parameters: &mut Parameters<Cpu, T, C>) -> Result<()> {
        self.step.settle(device, parameters, &mut self.work)
    }
}

struct TakeMemory<'a, C> {
    step: InPlaceStep,
    device: &'a Cpu,
    architecture: &'a Architecture<C>,
    batch: usize,
}

impl<T: Scalar, C: Coupling<Cpu, T>> ForGroup<Cpu, T, C> for TakeMemory<'_, C> {
    type Out = Box<dyn Plain<T, C>>;

    fn call(self, _group: C) -> Result<Self::Out>
    where
        C: Group<Cpu, T>,
    {
        let work = self.step.workspace(self.device, self.architecture, self.batch)?;
        Ok(Box::new(WithWork { step: self.step, work }))
    }
}
