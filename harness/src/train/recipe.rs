//! How to train: the words of the settings as types.

use std::fmt;
use std::str::FromStr;

use relgrad_kernels::backend::BiasMode;
use relgrad_kernels::optimizer::{Adam, Schedule};
use relgrad_kernels::{Architecture, Dtype, Method};
use relgrad_reports::training::TrainingSettings;

use super::start::Start;
use crate::error::{Error, Result};

/// What becomes of a direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Optimizer {
    /// θ ← θ + μΔθ.
    Sgd,
    /// Adam with its published parameters.
    Adam(Adam),
}

impl Optimizer {
    /// Names on the command line.
    pub(crate) const NAMES: [&str; 2] = ["sgd", "adam"];
}

impl fmt::Display for Optimizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sgd => "sgd",
            Self::Adam(_) => "adam",
        })
    }
}

impl FromStr for Optimizer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "sgd" => Ok(Self::Sgd),
            "adam" => Ok(Self::Adam(Adam::default())),
            _ => Err(Error::Usage(format!("unknown optimiser `{text}`: the optimisers are sgd and adam"))),
        }
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
    /// In steps.
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
    pub(crate) architecture: Architecture,
    pub(crate) method: Method,
    pub(crate) bias_mode: BiasMode,
    pub(crate) optimizer: Optimizer,
    pub(crate) learning_rate: f64,
    pub(crate) schedule: EpochSchedule,
    pub(crate) guard: bool,
    pub(crate) batch: usize,
    pub(crate) epochs: usize,
    pub(crate) patience: Option<usize>,
    pub(crate) start: Start,
    pub(crate) dtype: Dtype,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
    pub(crate) checkpoint_every: usize,
}

impl Recipe {
    /// Reads the words of settings for data of dimension `dim`.
    ///
    /// # Errors
    /// Names the setting that is not known, out of range, or at odds with another. Command lines and files are held to
    /// the same.
    pub(crate) fn of(settings: &TrainingSettings, dim: usize) -> Result<Self> {
        fn usage(cause: impl std::fmt::Display) -> Error {
            Error::Usage(cause.to_string())
        }
        let architecture = Architecture {
            activation: settings.activation,
            last_nonlinear: settings.last_nonlinear,
            bias: settings.bias,
            base: settings.base,
            ..Architecture::new(dim, settings.layers)
        };
        require_sane(settings)?;
        architecture.validate().map_err(usage)?;
        let recipe = Self {
            architecture,
            method: settings.method,
            bias_mode: settings.bias_mode.parse().map_err(usage)?,
            optimizer: settings.optimizer.parse()?,
            learning_rate: settings.learning_rate,
            schedule: settings.schedule.parse()?,
            guard: settings.guard,
            batch: settings.batch,
            epochs: settings.epochs,
            patience: settings.patience,
            start: settings.init.parse()?,
            dtype: settings.dtype,
            seed: settings.seed,
            threads: settings.threads,
            checkpoint_every: settings.checkpoint_every,
        };
        recipe.validate()?;
        Ok(recipe)
    }

    fn validate(&self) -> Result<()> {
        let refuse = |text: &str| Err(Error::Usage(text.to_string()));
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return refuse("--learning-rate must be positive and finite");
        }
        if self.method == Method::RelativeInPlace && self.optimizer != Optimizer::Sgd {
            return refuse("relative-inplace stores no direction that Adam could use: choose --method relative");
        }
        if self.start.is_from_data() && !self.architecture.bias {
            return refuse("a start from the data sets the first layer's bias: leave out --no-bias");
        }
        Ok(())
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
    let TrainingSettings { bias_mode, optimizer, schedule, init, .. } = settings;
    for word in [bias_mode, optimizer, schedule, init] {
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
    use relgrad_kernels::{Activation, Base};

    use super::*;

    /// Settings of a training that takes a moment.
    pub(crate) fn settings() -> TrainingSettings {
        let word = str::to_string;
        TrainingSettings {
            data: word("toy:moons"),
            toy_samples: 200,
            method: Method::Relative,
            bias_mode: word("exact"),
            optimizer: word("adam"),
            learning_rate: 0.01,
            schedule: word("constant"),
            guard: true,
            batch: 50,
            epochs: 3,
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
        }
    }

    #[test]
    fn settings_out_of_range_are_named() {
        type Change = fn(&mut TrainingSettings);
        let cases: [(Change, &str); 13] = [
            (|s| s.threads = usize::MAX, "--threads is 18446744073709551615, and must be from 1 to 1024"),
            (|s| s.threads = 0, "--threads"),
            (|s| s.batch = usize::MAX, "--batch"),
            (|s| s.layers = usize::MAX, "--layers"),
            (|s| s.epochs = usize::MAX, "--epochs"),
            (|s| s.toy_samples = usize::MAX, "--toy-samples"),
            (|s| s.checkpoint_every = 0, "--checkpoint-every"),
            (|s| s.patience = Some(0), "--patience"),
            (|s| s.learning_rate = -1.0, "--learning-rate"),
            (|s| s.learning_rate = f64::NAN, "--learning-rate"),
            (|s| s.optimizer = String::new(), "``"),
            (|s| s.schedule = "inverse:1e999".to_string(), "unknown schedule"),
            (|s| s.optimizer = "x".repeat(60_000), "cannot be as long"),
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
