//! How to train: the words of the settings as types.

use std::fmt;
use std::str::FromStr;

use relgrad_kernels::backend::BiasMode;
use relgrad_kernels::cost::cost;
use relgrad_kernels::layer::{Convolution, CouplingKind};
use relgrad_kernels::optimizer::Schedule;
use relgrad_kernels::{Activation, Architecture, Base, Dtype, Method, Tuned, Tuning};
use relgrad_reports::training::{ConvolutionLayers, TrainingSettings};
use relgrad_vocabulary::names;

use super::edge::{self, Edge};
use super::start::Start;
use crate::data::Parts;
use crate::error::{Error, Result};

names! {
    /// What becomes of a direction.
    Optimizer, "optimiser", {
        /// θ ← θ + μΔθ.
        Sgd = "sgd",
        /// Adam with its published parameters.
        Adam = "adam",
        /// The same in the coordinates of the relative step, W ← (I + μÂ)W \[M94\].
        EquivariantAdam = "equivariant-adam",
    }
}

impl Optimizer {
    /// Whether it keeps moments of the direction.
    pub(crate) fn has_moments(self) -> bool {
        self != Self::Sgd
    }
}

names! {
    /// Which t stands in Adam's bias corrections 1 − βᵗ.
    AdamCorrection, "correction", {
        /// The number of steps, as published.
        Step = "step",
        /// 1 more than the number of the epoch, which counts from 1: what the paper's authors run.
        Epoch = "epoch",
    }
}

/// A schedule in epochs, as the command line has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum EpochSchedule {
    Constant,
    /// Epochs after which the step size has halved.
    Inverse(f64),
    /// Falls to 0 over all epochs.
    Cosine,
}

impl EpochSchedule {
    pub(crate) fn in_steps(self, steps_per_epoch: usize, epochs: usize) -> Schedule {
        let steps = steps_per_epoch as f64;
        match self {
            Self::Constant => Schedule::Constant,
            Self::Inverse(epochs) => Schedule::Inverse { halving_steps: epochs * steps },
            Self::Cosine => Schedule::Cosine { total_steps: epochs as f64 * steps },
        }
    }
}

impl fmt::Display for EpochSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant => f.write_str("constant"),
            Self::Inverse(epochs) => write!(f, "inverse:{epochs}"),
            Self::Cosine => f.write_str("cosine"),
        }
    }
}

impl FromStr for EpochSchedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let inverse = || text.strip_prefix("inverse:")?.parse().ok().filter(|epochs: &f64| *epochs > 0.0);
        match (text, inverse()) {
            ("constant", _) => Ok(Self::Constant),
            ("cosine", _) => Ok(Self::Cosine),
            (_, Some(epochs)) if epochs.is_finite() => Ok(Self::Inverse(epochs)),
            _ => Err(Error::Usage(format!(
                "unknown schedule `{text}`: it is constant, cosine, or inverse:EPOCHS with the epochs after which the \
                 step size has halved"
            ))),
        }
    }
}

/// Everything a training needs but the data.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recipe {
    pub(crate) architecture: Architecture<CouplingKind>,
    pub(crate) method: Method,
    pub(crate) bias_mode: BiasMode,
    pub(crate) optimizer: Optimizer,
    pub(crate) adam_correction: AdamCorrection,
    pub(crate) learning_rate: f64,
    pub(crate) schedule: EpochSchedule,
    pub(crate) guard: bool,
    pub(crate) batch: usize,
    pub(crate) epochs: usize,
    pub(crate) patience: Option<usize>,
    /// Only epochs that are multiples of this can have the best model.
    pub(crate) validate_every: usize,
    pub(crate) start: Start,
    pub(crate) dtype: Dtype,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
    pub(crate) checkpoint_every: usize,
    pub(crate) edge: Edge,
    /// Whether a step that lowers the likelihood of all training samples is undone, and the step size halved.
    pub(crate) line_search: bool,
    /// Nats of validation below the best epoch from which, after some epochs, training goes back to it with half the
    /// step size.
    pub(crate) rewind: Option<f64>,
    /// Standard deviation of the noise that training samples have in the first step.
    pub(crate) noise: f64,
    /// Numbers of the method.
    pub(crate) tuning: Tuning,
}

impl Recipe {
    /// As [`Self::of`], for data that may have conditions.
    pub(crate) fn for_data(settings: &TrainingSettings, data: &Parts) -> Result<Self> {
        let recipe = Self::of(settings, data.dim())?;
        recipe.require_fit(data)?;
        Ok(Self { architecture: Architecture { conditions: data.conditions(), ..recipe.architecture }, ..recipe })
    }

    /// Refuses a line search where a batch is not all of the training part.
    pub(crate) fn require_fit(&self, data: &Parts) -> Result<()> {
        let count = data.train.count();
        if self.line_search && self.batch < count {
            return Err(Error::Usage(format!(
                "--line-search compares the likelihood of all training samples: take --batch {count}, or leave it out"
            )));
        }
        Ok(())
    }

    /// The method with its numbers.
    pub(crate) fn tuned(&self) -> Tuned {
        Tuned { method: self.method, tuning: self.tuning }
    }

    /// Whether the sharpness of the loss is estimated.
    pub(crate) fn estimates_sharpness(&self) -> bool {
        self.edge != Edge::Unseen && edge::is_estimable(self.method)
    }

    /// Reads the words of settings for data of dimension `dim`; an error names the setting that is not known, out of
    /// range, or at odds with another. Command lines and files are held to the same.
    pub(crate) fn of(settings: &TrainingSettings, dim: usize) -> Result<Self> {
        let TrainingSettings { learning_rate, guard, batch, epochs, patience, seed, threads, checkpoint_every, .. } =
            *settings;
        let architecture = Architecture {
            activation: settings.activation,
            last_nonlinear: settings.last_nonlinear,
            bias: settings.bias,
            base: settings.base,
            ..Architecture::new(dim, settings.layers)
        };
        let layers = settings.convolution.map_or(CouplingKind::Dense, coupling).moved_by(settings.method);
        let architecture = architecture.with(layers);
        require_sane(settings)?;
        settings.tuning.require_used(&[settings.method]).map_err(usage)?;
        architecture.validate().map_err(usage)?;
        let recipe = Self {
            architecture,
            method: settings.method,
            bias_mode: settings.bias_mode.parse().map_err(usage)?,
            optimizer: settings.optimizer.parse()?,
            adam_correction: settings.adam_correction.as_deref().map_or(Ok(AdamCorrection::Step), str::parse)?,
            schedule: settings.schedule.parse()?,
            start: settings.init.parse()?,
            dtype: settings.dtype,
            learning_rate,
            guard,
            batch,
            epochs,
            patience,
            validate_every: settings.validate_every.unwrap_or(1),
            seed,
            threads,
            checkpoint_every,
            edge: settings.edge.as_deref().map_or(Ok(Edge::Unseen), str::parse)?,
            line_search: settings.line_search,
            rewind: settings.rewind,
            noise: settings.noise.unwrap_or(0.0),
            tuning: settings.tuning,
        };
        let Self { method, optimizer, start, .. } = recipe;
        let refusals = [
            (!(learning_rate > 0.0 && learning_rate.is_finite()), "--learning-rate must be positive and finite"),
            (
                method.is_step() && optimizer != Optimizer::Sgd,
                "a step in place stores no direction that Adam could use: choose --method relative",
            ),
            (
                !(recipe.noise >= 0.0 && recipe.noise.is_finite()),
                "--noise is a standard deviation: 0 for none, or a positive number",
            ),
            (
                recipe.noise > 0.0 && recipe.line_search,
                "--line-search compares the likelihood of the samples as they are: leave out --noise",
            ),
            (
                recipe.rewind.is_some_and(|nats| !(nats > 0.0 && nats.is_finite())),
                "--rewind is a number of nats: positive, and above the noise of the validation part",
            ),
            (
                recipe.rewind.is_some() && recipe.line_search,
                "--line-search undoes steps one by one: leave out --rewind",
            ),
            (
                recipe.adam_correction != AdamCorrection::Step && !optimizer.has_moments(),
                "--adam-correction is for --optimizer adam",
            ),
            (
                recipe.line_search && optimizer != Optimizer::Sgd,
                "--line-search is for plain steps: add --optimizer sgd",
            ),
            (
                recipe.line_search && (method.keeps_state() || method == Method::RelativeDelayed),
                "a step of this method cannot be undone: with --line-search choose --method relative, transposed or \
                 ordinary",
            ),
            (
                optimizer == Optimizer::EquivariantAdam
                    && !(method == Method::Relative
                        && recipe.bias_mode == BiasMode::Exact
                        && settings.convolution.is_none()),
                "--optimizer equivariant-adam has the coordinates of relative steps of dense layers with exact biases: \
                 leave out --method, --bias-mode and --coupling",
            ),
            (
                method.keeps_state() && !(guard && recipe.bias_mode == BiasMode::Exact),
                "this method steps with the guard and exact biases: leave out --no-guard and --bias-mode, or choose \
                 --method relative-inplace",
            ),
            (
                method.needs_dense() && settings.convolution.is_some(),
                "this method is for dense layers: choose --method relative or ordinary",
            ),
            (
                start.is_from_data() && !settings.bias,
                "a start from the data sets the first layer's bias: leave out --no-bias",
            ),
            (
                start.is_from_data() && settings.convolution.is_some(),
                "a start from the data is for dense layers: with --coupling conv choose --init orthogonal or gaussian",
            ),
            (
                cost(method, &architecture, batch, recipe.dtype).is_err(),
                "only kernels with every tap of the grid, or with one, have a relative gradient: choose --method \
                 ordinary, or --kernel full",
            ),
        ];
        match refusals.into_iter().find(|(is_refused, _)| *is_refused) {
            Some((_, words)) => Err(usage(words)),
            None => Ok(recipe),
        }
    }
}

fn coupling(layers: ConvolutionLayers) -> CouplingKind {
    let ConvolutionLayers { channels, grid, kernel } = layers;
    CouplingKind::Convolution(Convolution { channels, grid, kernel: kernel.unwrap_or(grid) })
}

fn usage<E: fmt::Display>(cause: E) -> Error {
    Error::Usage(cause.to_string())
}

/// The settings that a command line without flags stands for, of one thread, as experiments change them.
pub(crate) fn defaults() -> TrainingSettings {
    let word = str::to_string;
    TrainingSettings {
        data: word("toy:moons"),
        toy_samples: 10_000,
        method: Method::Relative,
        bias_mode: word("exact"),
        optimizer: word("adam"),
        learning_rate: 1e-3,
        schedule: word("cosine"),
        guard: true,
        batch: 100,
        epochs: 100,
        patience: None,
        layers: 2,
        activation: Activation::SmoothLeaky { alpha: 0.3 },
        last_nonlinear: false,
        bias: true,
        base: Base::Normal,
        init: word("orthogonal"),
        dtype: Dtype::F32,
        seed: 0,
        threads: 1,
        checkpoint_every: 1,
        convolution: None,
        conditional: None,
        adam_correction: None,
        edge: Some(word("off")),
        line_search: false,
        rewind: None,
        validate_every: None,
        noise: None,
        tuning: Tuning::default(),
    }
}

/// Ranges of the counts, and words that can be quoted.
fn require_sane(settings: &TrainingSettings) -> Result<()> {
    let TrainingSettings { toy_samples, batch, epochs, patience, layers, threads, checkpoint_every, .. } = *settings;
    let ranges = [
        ("toy-samples", toy_samples, 2, u32::MAX as usize),
        ("batch", batch, 1, u32::MAX as usize),
        ("epochs", epochs, 0, MOST_EPOCHS),
        ("patience", patience.unwrap_or(1), 1, usize::MAX),
        ("validate-every", settings.validate_every.unwrap_or(1), 1, epochs.max(1)),
        ("layers", layers, 1, MOST_LAYERS),
        ("threads", threads, 1, MOST_THREADS),
        ("checkpoint-every", checkpoint_every, 1, MOST_EPOCHS),
    ];
    for (flag, value, least, most) in ranges {
        if !(least..=most).contains(&value) {
            return Err(Error::Usage(format!("--{flag} is {value}, and must be from {least} to {most}")));
        }
    }
    if !(1..=LONGEST_PATH).contains(&settings.data.len()) {
        return Err(Error::Usage("the name of the data is empty, or longer than a path can be".to_string()));
    }
    if settings.conditional.as_ref().is_some_and(|what| what.len() > LONGEST_PATH) {
        return Err(Error::Usage("--conditional names too many columns".to_string()));
    }
    let TrainingSettings { bias_mode, optimizer, schedule, init, edge, adam_correction, .. } = settings;
    for word in [bias_mode, optimizer, schedule, init].into_iter().chain(edge).chain(adam_correction) {
        if word.chars().count() > LONGEST_WORD {
            let start: String = word.chars().take(LONGEST_WORD).collect();
            return Err(Error::Usage(format!("a setting cannot be as long as `{start}…`")));
        }
    }
    Ok(())
}

/// More epochs than anyone waits for; sums of their steps stay far from where a number wraps.
const MOST_EPOCHS: usize = 1_000_000_000;
const MOST_LAYERS: usize = 100_000;
/// As many as a device cuts its work into.
pub(crate) const MOST_THREADS: usize = 1024;
/// Bytes of a path, on Linux.
const LONGEST_PATH: usize = 4096;
/// Characters of a word of the settings.
const LONGEST_WORD: usize = 60;

#[cfg(test)]
pub(crate) mod tests {
    use relgrad_kernels::layer::Geometry;

    use super::*;

    /// Settings of a training that takes a moment.
    pub(crate) fn settings() -> TrainingSettings {
        TrainingSettings { toy_samples: 200, learning_rate: 0.01, batch: 50, epochs: 3, ..defaults() }
    }

    #[test]
    fn settings_out_of_range_are_named() {
        type Change = fn(&mut TrainingSettings);
        let cases: [(Change, &str); 19] = [
            (|s| s.threads = usize::MAX, "--threads is 18446744073709551615, and must be from 1 to 1024"),
            (|s| s.threads = 0, "--threads"),
            (|s| s.batch = usize::MAX, "--batch"),
            (|s| s.layers = usize::MAX, "--layers"),
            (|s| s.epochs = usize::MAX, "--epochs"),
            (|s| s.toy_samples = usize::MAX, "--toy-samples"),
            (|s| s.checkpoint_every = 0, "--checkpoint-every"),
            (|s| s.patience = Some(0), "--patience"),
            (|s| s.validate_every = Some(s.epochs + 1), "--validate-every is 4, and must be from 1 to 3"),
            (|s| s.validate_every = Some(0), "--validate-every"),
            (|s| s.learning_rate = -1.0, "--learning-rate"),
            (|s| s.learning_rate = f64::NAN, "--learning-rate"),
            (|s| s.noise = Some(-0.1), "--noise is a standard deviation"),
            (|s| s.noise = Some(f64::NAN), "--noise is a standard deviation"),
            (|s| s.optimizer = String::new(), "``"),
            (|s| s.schedule = "inverse:1e999".to_string(), "unknown schedule"),
            (|s| s.optimizer = "x".repeat(60_000), "cannot be as long"),
            (|s| s.adam_correction = Some("x".repeat(60_000)), "cannot be as long"),
            (|s| s.adam_correction = Some("batch".to_string()), "unknown correction `batch`"),
        ];
        assert!(Recipe::of(&settings(), 2).is_ok());
        for (change, part) in cases {
            let mut settings = settings();
            change(&mut settings);
            let told = Recipe::of(&settings, 2).unwrap_err().to_string();
            assert!(told.contains(part) && told.len() < 300, "{told}");
        }
    }

    #[test]
    fn convolutions_have_the_methods_of_their_kernels_and_no_start_from_the_data() {
        let of = |grid, kernel, method, init: &str| {
            let convolution = Some(ConvolutionLayers { channels: 2, grid, kernel });
            let settings = TrainingSettings { convolution, method, init: init.to_string(), ..settings() };
            Recipe::of(&settings, 18).map(|recipe| recipe.architecture.coupling).map_err(|cause| cause.to_string())
        };
        let (grid, start) = ([3, 3], "orthogonal");
        let full = CouplingKind::Convolution(Convolution::full(2, grid));
        assert_eq!(of(grid, None, Method::Relative, start), Ok(full));
        assert_eq!(of(grid, Some([1, 3]), Method::Ordinary, start).map(|of| of.weight_shape(18)), Ok([6, 2]));
        for (told, part) in [
            (of(grid, Some([1, 3]), Method::Relative, start), "choose --method ordinary"),
            (of(grid, None, Method::Relative, "whiten"), "is for dense layers"),
            (of(grid, None, Method::NewtonSchulz, start), "this method is for dense layers"),
            (of([3, 4], None, Method::Relative, start), "D = 18"),
            (of(grid, Some([5, 1]), Method::Ordinary, start), "5×1"),
            (of([usize::MAX, 2], None, Method::Ordinary, start), "D = 18"),
        ] {
            let told = told.unwrap_err();
            assert!(told.contains(part) && told.lines().count() == 1, "{told}");
        }
    }

    #[test]
    fn schedules_read_back_and_nonsense_is_named() {
        for schedule in [EpochSchedule::Constant, EpochSchedule::Inverse(2.5), EpochSchedule::Cosine] {
            assert_eq!(schedule.to_string().parse::<EpochSchedule>().unwrap(), schedule);
        }
        for text in ["", "inverse", "inverse:0", "inverse:inf", "inverse:x", "linear"] {
            let error = text.parse::<EpochSchedule>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
        let schedule = EpochSchedule::Inverse(3.0).in_steps(100, 9);
        assert_eq!(schedule.factor(300), 0.5);
    }
}
