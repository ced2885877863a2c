//! The nonlinearity of a layer, spelt `smooth:0.3` or `tanh:1:0.1`.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use crate::spelt::spelt;
use crate::{OutOfRange, Unknown, positive, words};

/// An invertible, strictly increasing elementwise nonlinearity σ.
///
/// Parameters are kept in f64 and rounded once to the working precision.
#[derive(Debug, Clone, Copy)]
pub enum Activation {
    /// s_L(x) = αx + (1−α) log(1+eˣ), 0 < α ≤ 1 \[M3\], (P.34).
    SmoothLeaky {
        /// Slope at −∞.
        alpha: f64,
    },
    /// s_T(x) = tanh(αx) + βx, α, β > 0 \[M4\], (P.35).
    TanhLinear {
        /// Scale inside the hyperbolic tangent.
        alpha: f64,
        /// Slope of the linear part.
        beta: f64,
    },
}

/// What [`Activation::from_str`] understands.
const EXPECTED: &str = "smooth[:ALPHA] (s_L, default 0.3) or tanh[:ALPHA:BETA] (s_T, default 1 and 0.1)";

impl Activation {
    /// Rejects parameters for which it is not invertible.
    ///
    /// # Errors
    /// Names the parameter and what it must be.
    pub fn validate(&self) -> Result<(), OutOfRange> {
        match *self {
            Self::SmoothLeaky { alpha } if alpha > 0.0 && alpha <= 1.0 => Ok(()),
            Self::SmoothLeaky { alpha } => {
                Err(OutOfRange { name: "alpha", value: alpha, requirement: "must be in (0, 1] for s_L" })
            }
            Self::TanhLinear { alpha, beta } => positive("alpha", alpha).and_then(|()| positive("beta", beta)),
        }
    }
}

impl Activation {
    /// What tells it from others: the bits of its parameters.
    fn key(&self) -> (u8, u64, u64) {
        match *self {
            Self::SmoothLeaky { alpha } => (0, alpha.to_bits(), 0),
            Self::TanhLinear { alpha, beta } => (1, alpha.to_bits(), beta.to_bits()),
        }
    }
}

impl PartialEq for Activation {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Activation {}

impl PartialOrd for Activation {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Activation {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl Hash for Activation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

spelt!(Activation);

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SmoothLeaky { alpha } => write!(f, "smooth:{alpha}"),
            Self::TanhLinear { alpha, beta } => write!(f, "tanh:{alpha}:{beta}"),
        }
    }
}

impl FromStr for Activation {
    type Err = Unknown;

    /// Parses what `Display` writes; parameters may be left out for the paper's.
    fn from_str(text: &str) -> Result<Self, Unknown> {
        let unknown = || Unknown::new("activation", text, EXPECTED);
        match words(text).ok_or_else(unknown)? {
            ("smooth", parameters) => match parameters[..] {
                [] => Ok(Self::SmoothLeaky { alpha: 0.3 }),
                [alpha] => Ok(Self::SmoothLeaky { alpha }),
                _ => Err(unknown()),
            },
            ("tanh", parameters) => match parameters[..] {
                [] => Ok(Self::TanhLinear { alpha: 1.0, beta: 0.1 }),
                [alpha, beta] => Ok(Self::TanhLinear { alpha, beta }),
                _ => Err(unknown()),
            },
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_displayed_parses_back() {
        for activation in [Activation::SmoothLeaky { alpha: 1e-6 }, Activation::TanhLinear { alpha: 1.5, beta: 0.1 }] {
            assert_eq!(activation.to_string().parse(), Ok(activation));
        }
    }

    #[test]
    fn nonsense_is_named() {
        for text in ["", "relu", "smooth:", "smooth:x", "smooth:1:2", "tanh:1"] {
            let error = text.parse::<Activation>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")) && error.contains("smooth"), "{error}");
        }
    }

    #[test]
    fn parameters_that_are_no_numbers_or_not_positive_are_refused() {
        for text in ["smooth:0", "smooth:NaN", "smooth:1.1", "tanh:inf:1", "tanh:1:-0.1"] {
            assert!(text.parse::<Activation>().unwrap().validate().is_err(), "{text}");
        }
        assert_eq!(Activation::SmoothLeaky { alpha: 1.0 }.validate(), Ok(()));
    }
}
