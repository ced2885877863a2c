//! Whether there is memory for a training, asked before it is taken: an allocation that fails later would end the
//! program.

use relgrad_kernels::cost::cost as cost_of;
use relgrad_kernels::layer::{Dense, Geometry};
use relgrad_kernels::ranks::cost_of_columns;
use relgrad_reports::units::{counted, grouped};

use super::network::CHUNK;
use super::recipe::{Optimizer, Recipe};
use crate::data::Parts;
use crate::error::Result;
use crate::machine::memory;

/// Refuses a training for which there is not enough memory, with what it needs and what there is. Over several ranks,
/// `ranks` has their number and how many of them are here.
pub(crate) fn require(recipe: &Recipe, data: &Parts, ranks: Option<(usize, usize)>) -> Result<()> {
    let dim = recipe.architecture.dim;
    let what = format!(
        "training {} of {} in batches of {}",
        counted(recipe.architecture.layers, "layer"),
        counted(dim, "unit"),
        grouped(recipe.batch.min(data.train.count()))
    );
    // The kernels' threads pack, and those of the pool that looks at the columns.
    let reserved = (2 * recipe.threads + 2) as f64 * memory::BYTES_A_THREAD;
    let advice = if recipe.estimates_sharpness() {
        "choose fewer --layers, a smaller --batch, fewer samples or --edge none"
    } else {
        "choose fewer --layers, a smaller --batch or fewer samples"
    };
    let needed = match ranks {
        Some((ranks, here)) => here as f64 * of_rank(recipe, data, ranks),
        None => needed(recipe, data),
    };
    memory::require(&what, needed, reserved, advice)
}

/// Bytes that a rank keeps \[M90\], with its components of the samples and what carries log-determinants.
fn of_rank(recipe: &Recipe, data: &Parts, ranks: usize) -> f64 {
    let architecture = recipe.architecture.with(Dense);
    let batch = recipe.batch.min(data.train.count());
    let bound = cost_of_columns(&architecture, (batch, ranks), recipe.dtype, false).map_or(0.0, |cost| cost.min_bytes);
    let (dim, number) = (architecture.dim as f64, recipe.dtype.bytes() as f64);
    let count: usize = data.each().iter().map(|(_, part)| part.count()).sum();
    let small = batch.min(architecture.dim) as f64;
    let carried = (number + 16.0) * dim * batch as f64 + 8.0 * small * small;
    bound + carried + (count + batch) as f64 * (dim / ranks as f64).ceil() * number
}

/// Bytes of everything that a training keeps at a time.
fn needed(recipe: &Recipe, data: &Parts) -> f64 {
    let architecture = &recipe.architecture;
    let (dim, layers) = (architecture.dim as f64, architecture.layers as f64);
    let number = recipe.dtype.bytes() as f64;
    let [rows, cols] = architecture.coupling.weight_shape(architecture.dim);
    let layer = rows as f64 * cols as f64 + architecture.coupling.bias_len(architecture.dim) as f64;
    // Location and scale, affine in the condition.
    let conditions = architecture.conditions as f64;
    let head = if conditions > 0.0 { 2.0 * dim * (conditions + 1.0) } else { 0.0 };
    let parameters = (layers * layer + head) * number;
    let moments = if recipe.optimizer.has_moments() { 2.0 * parameters } else { 0.0 };
    // The identity, and a weight before its step.
    let squares = if recipe.optimizer == Optimizer::EquivariantAdam { 2.0 * dim * dim * number } else { 0.0 };
    let batch = recipe.batch.min(data.train.count());
    let cost = cost_of(recipe.method, architecture, batch, recipe.dtype);
    let gradient = cost.map_or(0.0, |cost| cost.expected_bytes);
    // Displaced parameters and three vectors; the direction and its work memory where steps do not have them.
    let (probe, vector) = if recipe.estimates_sharpness() {
        let stored = recipe.method.needs_group() && recipe.optimizer == Optimizer::Sgd;
        let stored =
            stored.then(|| cost_of(recipe.method.direction(), architecture, batch, recipe.dtype).ok()).flatten();
        let scratch = if recipe.optimizer == Optimizer::EquivariantAdam { parameters } else { 0.0 };
        (4.0 * parameters + scratch + stored.map_or(0.0, |cost| cost.expected_bytes), parameters)
    } else {
        (0.0, 0.0)
    };
    // The best model, and the file of a checkpoint that is read, with one array in two more orders.
    let kept = 2.0 * parameters + moments + vector + 2.0 * parameters / layers;
    let count: f64 = data.each().iter().map(|(_, part)| part.count() as f64).sum();
    let samples = count * (dim + conditions) * number;
    let blocks = if conditions > 0.0 { 7.0 } else { 3.0 };
    let evaluation = blocks * CHUNK.min(data.train.count()) as f64 * dim * number;
    gradient + squares + probe + moments + kept + samples + evaluation + layers * LAYER_BYTES
}

/// What a layer takes beside its numbers: a dozen small allocations.
const LAYER_BYTES: f64 = 2048.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::toy::Toy;
    use crate::train::recipe::tests::settings;

    #[test]
    fn a_training_beyond_all_memory_is_refused_with_what_it_needs() {
        let samples = Toy::Moons.sample(100, 0);
        let parts = Parts::of([samples.clone(), samples.clone(), samples]);
        let recipe = |dim| Recipe::of(&settings(), dim).unwrap();
        require(&recipe(2), &parts, None).unwrap();
        let told = require(&recipe(10_000_000), &parts, None).unwrap_err();
        assert_eq!(told.code(), 2);
        let told = told.to_string();
        assert!(told.contains("2 layers of 10,000,000 units") && told.contains("needs about"), "{told}");
        // A rank of a thousand takes a thousandth of the weights, and blocks of D×N.
        let (whole, rank) = (needed(&recipe(100_000), &parts), of_rank(&recipe(100_000), &parts, 1000));
        assert!(rank < whole / 500.0, "{rank:e} of {whole:e}");
        require(&recipe(10_000_000), &parts, Some((1000, 1))).unwrap_err();
    }
}
