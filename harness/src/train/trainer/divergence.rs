//! What is said of a training whose numbers left what can be computed with.

use relgrad_kernels::Dtype;
use relgrad_kernels::layer::CouplingKind;

use super::Session;
use crate::error::Error;
use crate::train::learns::Learns;
use crate::train::standing::Progress;

/// Norms that a message has room for.
const MOST_NORMS: usize = 10;

impl<L: Learns> Session<'_, L> {
    /// Says where the numbers went wrong, how large the weights had become, what is left, and what to do.
    pub(super) fn diverged(&self, cause: &relgrad_kernels::Error) -> Error {
        let Progress { epoch, step, .. } = self.progress;
        if matches!(cause, relgrad_kernels::Error::Transport { .. }) {
            return Error::NoDevice(format!("training stopped at step {}: {cause}{}", step + 1, self.what_is_kept()));
        }
        let scale = self.scale_advice();
        if self.progress.best.is_none() {
            // Nothing has moved yet: these are the data as the first network sees them.
            return Error::Input(format!("cannot begin to train: {cause}; {scale}"));
        }
        let advice = if self.learner.require_finite_moments().is_err() {
            scale.to_string()
        } else {
            format!("try a smaller --learning-rate than {}", self.job.recipe.learning_rate)
        };
        let norm = |norm: Option<f64>| norm.map_or("?".to_string(), |norm| format!("{norm:.1e}"));
        let norms = self.learner.norms();
        // A hundred norms would hide the rest.
        let more = if norms.len() > MOST_NORMS { ", …" } else { "" };
        let told = norms.into_iter().take(MOST_NORMS).map(norm).collect::<Vec<_>>().join(", ");
        let norms = format!("; norms of the weights, layer by layer: {told}{more}");
        Error::Diverged(format!(
            "training stopped at step {} (epoch {}): {cause}{}{}; {advice}",
            step + 1,
            epoch + 1,
            if told.is_empty() { "" } else { &norms },
            self.what_is_kept(),
        ))
    }

    /// What to do about numbers that are too large or too small. A start from the data scales the first layer, but its
    /// gradient keeps the scale of the data, and Adam squares that.
    fn scale_advice(&self) -> &'static str {
        let recipe = self.job.recipe;
        let largest = self.job.data.train.values.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
        let most = if recipe.dtype == Dtype::F32 { 1e17 } else { 1e150 };
        let is_grid = matches!(recipe.architecture.coupling, CouplingKind::Convolution(_));
        let is_of_use = !is_grid && !recipe.start.is_from_data() && largest < most;
        match (is_of_use, recipe.dtype) {
            (true, Dtype::F32) => "rescale the data (--init standardise), or take --dtype f64",
            (true, Dtype::F64) => "rescale the data (--init standardise)",
            (false, Dtype::F32) => "rescale the data in their file, or take --dtype f64",
            (false, Dtype::F64) => "rescale the data in their file",
        }
    }

    pub(super) fn what_is_kept(&self) -> String {
        let kept = self.job.store.filter(|store| store.has_checkpoint());
        kept.map_or(String::new(), |store| format!("; the last good checkpoint is kept in {}", store.dir().display()))
    }
}
