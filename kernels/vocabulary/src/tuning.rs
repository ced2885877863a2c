//! Numbers of the methods that approximate, spelt `probes=20,tolerance=0.0001`.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use crate::spelt::spelt;
use crate::{Method, Unknown};

/// What stands for the defaults of a method that approximates; `None` leaves a number as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tuning {
    /// Probes m of `hutchinson`, coordinates m of `ordinary-carried`, probes K of `free-form`; at least 1.
    pub probes: Option<usize>,
    /// η of `hutchinson`; the share ‖Z − RWZ‖/‖Z‖ that `self-normalizing` holds a layer to. Between 0 and 1.
    pub tolerance: Option<f64>,
    /// β of `free-form`, the weight of ‖x − h(f(x))‖²; above 0.
    pub beta: Option<f64>,
}

/// What [`Tuning::from_str`] understands.
const EXPECTED: &str =
    "`default`, or a list of probes=COUNT from 1, tolerance=NUMBER between 0 and 1, beta=NUMBER above 0";

/// How one is spelt that leaves all numbers as they are.
const DEFAULT: &str = "default";

impl Tuning {
    /// Whether it leaves all numbers as they are.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What of it `method` has.
    #[must_use]
    pub fn of(self, method: Method) -> Self {
        let has_probes = matches!(method, Method::Hutchinson | Method::OrdinaryCarried | Method::FreeForm);
        let has_tolerance = matches!(method, Method::Hutchinson | Method::SelfNormalizing);
        Self {
            probes: self.probes.filter(|_| has_probes),
            tolerance: self.tolerance.filter(|_| has_tolerance),
            beta: self.beta.filter(|_| method == Method::FreeForm),
        }
    }

    /// Rejects numbers that none of `methods` has.
    ///
    /// # Errors
    /// A line that says so.
    pub fn require_used(self, methods: &[Method]) -> Result<(), String> {
        let of_all = methods.iter().fold(Self::default(), |all, method| {
            let of = self.of(*method);
            let (probes, tolerance) = (all.probes.or(of.probes), all.tolerance.or(of.tolerance));
            Self { probes, tolerance, beta: all.beta.or(of.beta) }
        });
        if of_all == self {
            return Ok(());
        }
        Err(format!(
            "tuning `{self}` has a number that no chosen method has: probes are of hutchinson, ordinary-carried and \
             free-form, a tolerance of hutchinson and self-normalizing, beta of free-form"
        ))
    }

    /// What tells it from others: the bits of its numbers.
    fn key(&self) -> (Option<usize>, Option<u64>, Option<u64>) {
        (self.probes, self.tolerance.map(f64::to_bits), self.beta.map(f64::to_bits))
    }
}

impl PartialEq for Tuning {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Tuning {}

impl PartialOrd for Tuning {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Tuning {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl Hash for Tuning {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

spelt!(Tuning);

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { probes, tolerance, beta } = self;
        let numbers = [
            probes.map(|probes| format!("probes={probes}")),
            tolerance.map(|tolerance| format!("tolerance={tolerance}")),
            beta.map(|beta| format!("beta={beta}")),
        ];
        let words: Vec<String> = numbers.into_iter().flatten().collect();
        f.write_str(if words.is_empty() { DEFAULT.to_string() } else { words.join(",") }.as_str())
    }
}

impl FromStr for Tuning {
    type Err = Unknown;

    /// Parses what `Display` writes.
    fn from_str(text: &str) -> Result<Self, Unknown> {
        let unknown = || Unknown::new("tuning", text, EXPECTED);
        let mut this = Self::default();
        if text == DEFAULT {
            return Ok(this);
        }
        for word in text.split(',') {
            let (name, value) = word.trim().split_once('=').ok_or_else(unknown)?;
            let number = || value.parse::<f64>().ok();
            match name {
                "probes" if this.probes.is_none() => this.probes = value.parse().ok().filter(|count| *count > 0),
                "tolerance" if this.tolerance.is_none() => {
                    this.tolerance = number().filter(|share| *share > 0.0 && *share < 1.0);
                }
                "beta" if this.beta.is_none() => this.beta = number().filter(|beta| *beta > 0.0 && beta.is_finite()),
                _ => return Err(unknown()),
            }
            let is_set = match name {
                "probes" => this.probes.is_some(),
                "tolerance" => this.tolerance.is_some(),
                _ => this.beta.is_some(),
            };
            if !is_set {
                return Err(unknown());
            }
        }
        Ok(this)
    }
}

/// A method with its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuned {
    /// The method.
    pub method: Method,
    /// What stands for its defaults; what it does not have is ignored.
    pub tuning: Tuning,
}

impl From<Method> for Tuned {
    fn from(method: Method) -> Self {
        Self { method, tuning: Tuning::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tuning_reads_back_what_it_writes() {
        for text in ["default", "probes=3", "tolerance=0.0001", "probes=20,tolerance=0.5,beta=2.5"] {
            let tuning: Tuning = text.parse().unwrap();
            assert_eq!((tuning.to_string().as_str(), tuning.is_default()), (text, text == "default"));
        }
        assert_eq!("beta=1,probes=2".parse(), Ok(Tuning { probes: Some(2), beta: Some(1.0), tolerance: None }));
        assert_eq!("tolerance=1e-4".parse::<Tuning>().unwrap().tolerance, Some(1e-4));
    }

    #[test]
    fn a_wrong_tuning_is_told_with_what_there_is() {
        let wrong =
            ["", "probes", "probes=0", "probes=-1", "tolerance=1", "tolerance=0", "tolerance=nan", "beta=inf", "m=3"];
        for text in wrong.into_iter().chain(["probes=2,probes=3", "probes=2,,beta=1"]) {
            assert_eq!(text.parse::<Tuning>(), Err(Unknown::new("tuning", text, EXPECTED)), "{text}");
        }
    }

    #[test]
    fn a_method_takes_the_numbers_that_it_has() {
        let all: Tuning = "probes=2,tolerance=0.1,beta=3".parse().unwrap();
        for (method, text) in [
            (Method::Hutchinson, "probes=2,tolerance=0.1"),
            (Method::OrdinaryCarried, "probes=2"),
            (Method::FreeForm, "probes=2,beta=3"),
            (Method::SelfNormalizing, "tolerance=0.1"),
            (Method::Relative, "default"),
        ] {
            assert_eq!(all.of(method).to_string(), text);
        }
        assert_eq!(all.require_used(&[Method::SelfNormalizing, Method::FreeForm]), Ok(()));
        for methods in [&[Method::Hutchinson][..], &[Method::Relative], &[]] {
            assert!(all.require_used(methods).unwrap_err().contains("no chosen method has"));
        }
        assert_eq!(Tuning::default().require_used(&[]), Ok(()));
    }
}
