//! A training that is looked at on its way, and the best step size of a grid for it.

use std::time::Instant;

use relgrad_kernels::layer::Dense;
use relgrad_kernels::{Method, Scalar};
use relgrad_reports::training::TrainingSettings;
use serde::Serialize;

use super::super::Context;
use crate::data::Parts;
use crate::error::{Error, Result};
use crate::train::learner::{Learner, Tracking};
use crate::train::network::Inputs;
use crate::train::order;
use crate::train::recipe::Recipe;
use crate::train::trainer::gather;

/// Data whose sources are known, and how to learn from them.
pub(super) trait Mixture {
    fn parts(&self) -> &Parts;

    /// Settings but for method and step size.
    fn settings(&self) -> &TrainingSettings;

    /// How well the sources are recovered.
    fn score(&self, learner: &Learner<f32>) -> relgrad_kernels::Result<f64>;
}

/// What a look at a training saw.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Sight {
    pub(super) step: usize,
    /// Seconds of all steps so far.
    pub(super) seconds: f64,
    pub(super) validation_nats: f64,
    pub(super) score: f64,
}

/// Trainings of one method on mixtures of one kind.
#[derive(Debug, Serialize)]
pub(super) struct Solver {
    pub(super) method: &'static str,
    pub(super) optimizer: String,
    /// The best of the grid on the validation part of the first mixture; absent where all diverged.
    pub(super) step_size: Option<f64>,
    /// Step size and last validation likelihood; none where it diverged.
    pub(super) tried: Vec<(f64, Option<f64>)>,
    /// A training for each mixture; none where it diverged.
    pub(super) trainings: Vec<Option<Vec<Sight>>>,
}

impl Solver {
    /// The gradient; the optimiser too where it is not that of others.
    pub(super) fn name(&self) -> String {
        let Self { method, optimizer, .. } = self;
        if optimizer == "equivariant-adam" { format!("{method}, {optimizer}") } else { method.to_string() }
    }

    /// The last look at each training that did not diverge.
    pub(super) fn ends(&self) -> impl Iterator<Item = Sight> {
        self.trainings.iter().flatten().filter_map(|sights| sights.last().copied())
    }

    /// Mean score at the end, and twice its standard error where there are several mixtures.
    pub(super) fn score(&self) -> Option<(f64, Option<f64>)> {
        let scores: Vec<f64> = self.ends().map(|sight| sight.score).collect();
        let count = scores.len() as f64;
        let mean = scores.iter().sum::<f64>() / count;
        let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (!scores.is_empty()).then(|| (mean, (scores.len() > 1).then(|| 2.0 * (variance / count).sqrt())))
    }

    /// Medians over the trainings of the steps and seconds after which `is_there`; none unless most come there.
    pub(super) fn time_to(&self, is_there: impl Fn(&Sight) -> bool) -> Option<(f64, f64)> {
        let first = |sights: &Vec<Sight>| sights.iter().find(|sight| is_there(sight)).copied();
        let reached: Vec<Sight> = self.trainings.iter().flatten().filter_map(first).collect();
        let median = |of: fn(&Sight) -> f64| {
            let mut values: Vec<f64> = reached.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let is_common = 2 * reached.len() > self.trainings.len();
        is_common.then(|| (median(|sight| sight.step as f64), median(|sight| sight.seconds)))
    }
}

/// Chooses the step size on the first mixture by its last validation likelihood, and trains on the others with it.
pub(super) fn solve(
    context: &mut Context<'_>,
    method: Method,
    step_sizes: &[f64],
    mixtures: &[&dyn Mixture],
) -> Result<Solver> {
    let (mut tried, mut best) = (Vec::new(), None::<(f64, Vec<Sight>)>);
    let last = |sights: &[Sight]| sights.last().map_or(f64::NEG_INFINITY, |sight| sight.validation_nats);
    let Some((first, others)) = mixtures.split_first() else {
        let method = method.name();
        return Ok(Solver { method, optimizer: String::new(), step_size: None, tried, trainings: Vec::new() });
    };
    for &step_size in step_sizes {
        let sights = follow(context, method, step_size, *first)?;
        tried.push((step_size, sights.as_deref().map(last)));
        if let Some(sights) = sights
            && best.as_ref().is_none_or(|(_, best)| last(&sights) > last(best))
        {
            best = Some((step_size, sights));
        }
    }
    let (step_size, mut trainings) = (best.as_ref().map(|best| best.0), vec![best.map(|best| best.1)]);
    for mixture in others {
        trainings.push(step_size.map_or(Ok(None), |step_size| follow(context, method, step_size, *mixture))?);
    }
    let optimizer = first.settings().optimizer.clone();
    Ok(Solver { method: method.name(), optimizer, step_size, tried, trainings })
}

/// Looks at a training: more often at its start.
const LOOKS: usize = 40;

/// Trains, and looks at it on the way; none where it diverged.
fn follow(
    context: &mut Context<'_>,
    method: Method,
    step_size: f64,
    mixture: &dyn Mixture,
) -> Result<Option<Vec<Sight>>> {
    let settings = TrainingSettings { method, learning_rate: step_size, ..mixture.settings().clone() };
    let (recipe, parts) = (Recipe::for_data(&settings, mixture.parts())?, mixture.parts());
    let mut learner = Learner::<f32>::begin(&recipe, Dense, &parts.train, Tracking::Off)?;
    let mut way = Way::new(&recipe, parts, learner.batch_size());
    let mut sights = Vec::new();
    for look in 0..=LOOKS {
        context.check_interrupt()?;
        let until = way.steps * look * look / (LOOKS * LOOKS);
        let seen = way.go(&mut learner, until).and_then(|()| way.look(&mut learner, mixture));
        match seen {
            Ok(sight) if sight.validation_nats.is_finite() && sight.score.is_finite() => sights.push(sight),
            Ok(_) | Err(relgrad_kernels::Error::NonFinite { .. } | relgrad_kernels::Error::Singular { .. }) => {
                return Ok(None);
            }
            Err(other) => return Err(Error::Input(other.to_string())),
        }
    }
    sights.dedup_by_key(|sight| sight.step);
    Ok(Some(sights))
}

/// Where a training is on its way through the data.
struct Way<'a, T> {
    recipe: &'a Recipe,
    training: Inputs<T>,
    validation: Inputs<T>,
    batch: Inputs<T>,
    order: Vec<u32>,
    steps_per_epoch: usize,
    /// Of the whole training.
    steps: usize,
    step: usize,
    seconds: f64,
}

impl<'a, T: Scalar> Way<'a, T> {
    fn new(recipe: &'a Recipe, parts: &Parts, batch: usize) -> Self {
        let [training, validation, _] = Inputs::of(parts);
        let room = |width: usize| vec![T::default(); width * batch];
        let steps_per_epoch = parts.train.count() / batch;
        Self {
            recipe,
            training,
            validation,
            batch: Inputs { x: room(parts.dim()), u: room(parts.conditions()) },
            order: Vec::new(),
            steps_per_epoch,
            steps: steps_per_epoch * recipe.epochs,
            step: 0,
            seconds: 0.0,
        }
    }

    /// Steps on until so many were taken.
    fn go(&mut self, learner: &mut Learner<T>, until: usize) -> relgrad_kernels::Result<()> {
        let (dim, size) = (learner.parameters.architecture().dim, learner.batch_size());
        let width = self.batch.u.len() / size;
        let schedule = self.recipe.schedule.in_steps(self.steps_per_epoch, self.recipe.epochs);
        while self.step < until {
            let (epoch, at) = (self.step / self.steps_per_epoch, self.step % self.steps_per_epoch);
            if at == 0 {
                self.order = order::of_epoch(self.recipe.seed, epoch, self.training.x.len() / dim);
            }
            let chosen = &self.order[at * size..(at + 1) * size];
            let clock = Instant::now();
            gather(dim, &self.training.x, chosen, &mut self.batch.x);
            if width > 0 {
                gather(width, &self.training.u, chosen, &mut self.batch.u);
            }
            let rate = self.recipe.learning_rate * schedule.factor(self.step as u64);
            learner.step(&self.batch.x, &self.batch.u, rate, false)?;
            self.seconds += clock.elapsed().as_secs_f64();
            self.step += 1;
        }
        Ok(())
    }
}

impl Way<'_, f32> {
    fn look(&self, learner: &mut Learner<f32>, mixture: &dyn Mixture) -> relgrad_kernels::Result<Sight> {
        learner.settle()?;
        let values = learner.log_likelihoods(&self.validation.x, &self.validation.u)?;
        let validation_nats = values.iter().sum::<f64>() / values.len() as f64;
        Ok(Sight { step: self.step, seconds: self.seconds, validation_nats, score: mixture.score(learner)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_medians_of_most_trainings() {
        let sight = |step: usize, score: f64| Sight { step, seconds: 0.1 * step as f64, validation_nats: 0.0, score };
        let training = |last: f64| Some(vec![sight(0, 0.1), sight(10, 0.5), sight(20, last)]);
        let trainings = vec![training(0.9), training(0.7), None];
        let solver = Solver {
            method: "relative",
            optimizer: "sgd".to_string(),
            step_size: Some(0.1),
            tried: Vec::new(),
            trainings,
        };
        assert_eq!(solver.name(), "relative");
        let (mean, error) = solver.score().unwrap();
        assert!((mean - 0.8).abs() < 1e-12 && (error.unwrap() - 0.2).abs() < 1e-12);
        assert_eq!(solver.time_to(|sight| sight.score >= 0.5), Some((10.0, 1.0)));
        assert_eq!(solver.time_to(|sight| sight.score >= 0.8), None, "one of three");
        let none = Solver { trainings: vec![None], ..solver };
        assert_eq!((none.score(), none.time_to(|_| true)), (None, None));
    }
}
