//! What the paper states, as numbers and facts, and whether what was measured agrees.

use std::ops::RangeInclusive;

use relgrad_kernels::{Architecture, Dtype, Method, cost};
use relgrad_reports::summary::Estimate;
use relgrad_reports::units;
use serde_json::Value;

use super::evidence::Evidence;
use super::ours::{self, Ours, at, list};
use crate::data::catalogue;
use crate::experiment::{epoch_time, primitives as operations};

/// A statement of the paper.
pub(crate) struct Claim {
    /// What it is about.
    pub(crate) what: String,
    /// The statement, in our words.
    pub(crate) paper: String,
    /// Values that agree with it.
    holds: RangeInclusive<f64>,
    /// The value here, or why there is none.
    ours: Measure,
    /// What explains a difference, or limits an agreement.
    pub(crate) remark: String,
}

/// Finds the value in the results, or why it is not there.
type Measure = Box<dyn Fn(&Evidence) -> Result<Ours, String>>;

/// How a claim and a measurement compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agreement {
    Agrees,
    Differs,
    NotMeasured,
}

impl Agreement {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Agrees => "✓\u{a0}agrees",
            Self::Differs => "✗\u{a0}differs",
            Self::NotMeasured => "–\u{a0}not measured",
        }
    }
}

impl Claim {
    fn new(
        (what, paper): (&str, &str),
        holds: RangeInclusive<f64>,
        remark: &str,
        ours: impl Fn(&Evidence) -> Result<Ours, String> + 'static,
    ) -> Self {
        let [what, paper, remark] = [what, paper, remark].map(str::to_string);
        Self { what, paper, holds, ours: Box::new(ours), remark }
    }

    /// Ours as text, or why there is none, and whether it agrees: whether its interval has a value that holds.
    pub(crate) fn judge(&self, evidence: &Evidence) -> (String, Agreement) {
        match (self.ours)(evidence) {
            Err(reason) => (reason, Agreement::NotMeasured),
            Ok(Ours { low, high, .. }) if low.is_nan() || high.is_nan() => {
                ("not a number".to_string(), Agreement::NotMeasured)
            }
            Ok(Ours { text, low, high }) if low <= *self.holds.end() && high >= *self.holds.start() => {
                (text, Agreement::Agrees)
            }
            Ok(Ours { text, .. }) => (text, Agreement::Differs),
        }
    }
}

/// Figures 3 and 1 (left).
pub(crate) fn time() -> Vec<Claim> {
    vec![
        Claim::new(
            ("effort", "N = 100, L = 2; 5 runs of 10 evaluations"),
            1.0..=f64::INFINITY,
            "Fewer runs widen the intervals; medians and exponents are of the same problem.",
            ours::effort,
        ),
        Claim::new(
            ("relative gradient", "time O(D²)"),
            1.9..=2.1,
            "Two D×D products with N samples a layer, and no inverse.",
            ours::exponent(Method::Relative),
        ),
        Claim::new(
            ("full Jacobians by automatic differentiation", "time O(D³)"),
            2.9..=3.1,
            "The rate of a product still rises over this range, which takes from the exponent; flops are N(6L−4)D³.",
            ours::exponent(Method::Autodiff),
        ),
        Claim::new(
            ("back-propagation with explicit inverses", "time O(D³)"),
            2.9..=3.1,
            "2LD³ for the inverses and (3L−1)·2ND² for the products are equal at D = 250; LU reaches its rate later.",
            ours::exponent(Method::Ordinary),
        ),
        Claim::new(
            ("relative over automatic differentiation", "faster by an order of 100"),
            100.0..=100.0,
            "Not a constant: the two exponents differ by 1, so the speed-up grows with D and passes 100 once.",
            ours::speedups,
        ),
        Claim::new(("largest D of relative", "20,000"), 20_000.0..=f64::INFINITY, "", ours::reach(Method::Relative)),
    ]
}

/// The bounds that the paper states are of parameters, gradient and Jacobians: ours may have a quarter more.
fn at_least(gigabytes: f64) -> RangeInclusive<f64> {
    gigabytes * 1e9..=1.25 * gigabytes * 1e9
}

/// Figure 4.
pub(crate) fn memory() -> Vec<Claim> {
    vec![
        Claim::new(("relative, D = 5,000", "400 MB at least"), at_least(0.4), "", ours::peak(Method::Relative, 5000)),
        Claim::new(
            ("automatic differentiation, D = 5,000", "10.4 GB at least"),
            at_least(10.4),
            "One Jacobian a sample: 2P + N·4D² bytes.",
            ours::peak(Method::Autodiff, 5000),
        ),
    ]
}

/// H.1 at N = 100.
pub(crate) fn bounds() -> Vec<Claim> {
    let batched = |_: &Evidence| {
        let cost = cost(Method::Autodiff, &Architecture::new(20_000, 2), 100, Dtype::F32);
        let bytes = cost.map_err(|cause| cause.to_string())?.min_bytes;
        Err(format!("no machine at hand has the memory; by the model {:.0} GB at least", bytes / 1e9))
    };
    vec![
        Claim::new(("relative, D = 20,000", "over 6 GB"), at_least(6.0), "", ours::peak(Method::Relative, 20_000)),
        Claim::new(
            ("automatic differentiation, D = 20,000", "over 300 GB"),
            at_least(300.0),
            "The paper counts one Jacobian a sample at D = 5,000 and two at 20,000 (erratum E11).",
            batched,
        ),
    ]
}

/// H.1, one sample at a time.
pub(crate) fn bounds_in_sequence() -> Vec<Claim> {
    vec![Claim::new(
        ("automatic differentiation, D = 20,000, samples in sequence", "over 9 GB"),
        at_least(9.0),
        "N = 1: the memory of a sample does not depend on how many follow. Two panels of D×D are scratch.",
        ours::peak(Method::AutodiffStreamed, 20_000),
    )]
}

pub(crate) fn starts() -> Vec<Claim> {
    vec![
        Claim::new(
            ("negative log-likelihood at the end, orthogonal starts", "relative is ahead from ten starts"),
            0.0..=f64::INFINITY,
            "The paper states neither its data nor its steps; ours are mixed half moons and a line search.",
            ours::lead("orthogonal"),
        ),
        Claim::new(
            ("the same, independent normal starts", "relative is ahead from ten starts"),
            0.0..=f64::INFINITY,
            "A relative step raises a small singular value σ by a factor of 1 + μ at most; W⁻ᵀ of the ordinary \
             gradient has 1/σ. Nearly singular starts decide.",
            ours::lead("gaussian"),
        ),
    ]
}

pub(crate) fn densities() -> Vec<Claim> {
    vec![Claim::new(
        ("learned densities, 100 layers", "have the shapes of the samples (pictures)"),
        f64::NEG_INFINITY..=0.1,
        "Agrees where each density is within 0.1 nats of the best possible likelihood. Sharp edges and spirals are \
         learned last, and the start decides; look at the picture.",
        ours::gap,
    )]
}

pub(crate) fn learning_curves() -> Vec<Claim> {
    vec![Claim::new(
        ("validation log-likelihood over the epochs", "rises with SGD and with Adam"),
        0.0..=f64::INFINITY,
        "",
        ours::gain,
    )]
}

/// Table 1: a row of the paper's.
pub(crate) fn likelihoods() -> Vec<Claim> {
    let claim = |(set, _, value, error): &'static (&'static str, usize, f64, f64)| {
        let ours = move |evidence: &Evidence| {
            let rows = list(evidence.numbers()?, "/rows")?;
            let row = rows.iter().find(|row| row["set"] == *set).ok_or("no such row")?;
            let Some(ours) = row.get("ours").filter(|ours| !ours.is_null()) else {
                return Err("the data are not at hand".to_string());
            };
            let mean = at(ours, "/test/mean")?;
            let reach = at(ours, "/test/two_standard_errors").unwrap_or(0.0);
            let text = format!("{mean:.2} ± {reach:.2}").replace('-', "−");
            if ours["provenance"] == "subset" {
                return Err(format!("{text} on a subset, which is not comparable"));
            }
            Ok(Ours { text, low: mean - reach, high: mean + reach })
        };
        let remark = match *set {
            "MNIST" => "Higher than the paper's model. A Gaussian with full covariance has −1366.9 nats.",
            "BSDS300" => "A fresh draw of a tenth of the patches.",
            _ => "",
        };
        let paper = format!("{value} ± {error} nats").replace('-', "−");
        Claim::new((set, &paper), value - error..=value + error, remark, ours)
    };
    catalogue::PAPER.iter().map(claim).collect()
}

/// H.3: how many times longer than relative an epoch takes.
pub(crate) fn epochs() -> Vec<Claim> {
    let claim = |(method, ratio): (Method, f64)| {
        let ours = move |evidence: &Evidence| {
            let timings = list(evidence.numbers()?, "/timings")?;
            let seconds = |method: Method| {
                let is_it = |t: &&Value| {
                    t["method"] == method.name() && t["batch"].as_u64() == Some(epoch_time::PAPER_BATCH as u64)
                };
                at(timings.iter().find(is_it).ok_or("no such timing")?, "/epoch_seconds")
            };
            let (this, relative) = (seconds(method)?, seconds(Method::Relative)?);
            let text = format!(
                "{} ({} over {})",
                units::ratio(this / relative),
                units::seconds(this),
                units::seconds(relative)
            );
            Ok(Ours::exact(this / relative, text))
        };
        let what = format!("an epoch of MNIST, N = {}: {method} over relative", epoch_time::PAPER_BATCH);
        let paper = format!("{ratio} times");
        // Half as much again either way: the paper's numbers are of another machine.
        Claim::new(
            (&what, &paper),
            ratio / 1.5..=ratio * 1.5,
            "The paper's is a GPU, where small products cost a launch each whatever the method; a CPU does only the \
             arithmetic.",
            ours,
        )
    };
    epoch_time::PAPER.map(claim).into()
}

/// Appendix C: an exponent each, and which mode is faster.
pub(crate) fn primitives() -> Vec<Claim> {
    let find = |evidence: &Evidence, name: &str| -> Result<Value, String> {
        let found = list(evidence.numbers()?, "/primitives")?.iter().find(|of| of["primitive"] == name).cloned();
        found.ok_or_else(|| format!("no measurement of {name}"))
    };
    let claim = |of: &operations::Primitive| {
        let name = of.name;
        let ours = move |evidence: &Evidence| {
            let found = find(evidence, name)?;
            let [value, low, high] = ["value", "low", "high"].map(|end| at(&found, &format!("/exponent/{end}")));
            let estimate = Estimate { value: value?, low: low?, high: high? };
            let (from, to) = (at(&found, "/from")? as usize, at(&found, "/to")? as usize);
            Ours::exponent(estimate, (from, to))
        };
        let remark =
            if of.paper == 3.0 { "Its rate rises over this range, which takes from the exponent." } else { "" };
        let paper = if of.paper == 3.0 { "O(D³)" } else { "O(D²)" };
        Claim::new((name, paper), of.paper - 0.1..=of.paper + 0.1, remark, ours)
    };
    let modes = move |evidence: &Evidence| {
        let last = |name: &str| -> Result<f64, String> {
            let found = find(evidence, name)?;
            let rounds = list(list(&found, "/times")?.last().ok_or("no times")?, "/round_median_seconds")?.clone();
            let rounds: Vec<f64> = rounds.iter().filter_map(Value::as_f64).collect();
            relgrad_reports::statistics::median(&rounds).ok_or_else(|| "no times".to_string())
        };
        let ratio = last("jacobian-forward")? / last("jacobian-reverse")?;
        Ok(Ours::exact(ratio, format!("forward mode takes {ratio:.2} times as long at the largest D")))
    };
    let mut claims: Vec<Claim> = operations::PRIMITIVES.iter().map(claim).collect();
    claims.push(Claim::new(
        ("full Jacobian, forward and reverse mode", "reverse mode performs better"),
        1.05..=f64::INFINITY,
        "Both have the same flops in a square network; what differs is the side on which W stands.",
        modes,
    ));
    claims
}

/// The errata: formulas as printed should have no error.
pub(crate) fn errata() -> Vec<Claim> {
    let of = |label: &'static str, what: &'static str| {
        move |evidence: &Evidence| {
            let errata = list(evidence.numbers()?, "/errata")?;
            let erratum = errata.iter().find(|e| e["erratum"] == label).ok_or("not measured")?;
            let (printed, corrected) = (at(erratum, "/printed")?, at(erratum, "/corrected")?);
            let text = match label {
                "E4" => format!("{printed:.3} nats a step, corrected {corrected:+.3}").replace('-', "−"),
                "E6" => format!("{what} {printed:.2}"),
                _ => format!("{what} {}, corrected {}", units::scientific(printed), units::scientific(corrected)),
            };
            Ok(Ours::exact(printed, text))
        }
    };
    let zero = -1e-9..=1e-9;
    let error = "error";
    vec![
        Claim::new(("E1", "(P.6): the gradient's data term is z δᵀ"), zero.clone(), "δ zᵀ", of("E1", error)),
        Claim::new(("E2", "(P.19): errors go back by W δ"), zero.clone(), "Wᵀ δ", of("E2", error)),
        Claim::new(("E3", "(P.15), (P.20): z δᵀ WᵀW"), zero.clone(), "δ zᵀ WᵀW", of("E3", error)),
        Claim::new(("E4", "App. A: −μ ascends"), 0.0..=f64::INFINITY, "+μ ascends", of("E4", "")),
        Claim::new(("E6", "App. F: the last row is zero"), zero.clone(), "−bᵀW^{-T}", of("E6", "largest entry")),
        Claim::new(
            ("E7", "(P.33): the bias's direction has no + b"),
            zero,
            "Without it a maximum is no fixed point: see `relgrad experiment bias-mode`.",
            of("E7", error),
        ),
    ]
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
