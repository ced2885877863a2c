//! The density of a latent component, spelt `normal`, `sech:1.57`, `logistic` or `laplace`.

use std::fmt;
use std::str::FromStr;

use crate::spelt::spelt;
use crate::{OutOfRange, Unknown, positive, words};

/// The density p_i of each latent component \[M5\].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Base {
    /// Standard normal.
    Normal,
    /// Hyperbolic secant p(s) = (c/π) sech(cs); c = π/2 has unit variance.
    Sech {
        /// Inverse scale c > 0.
        c: f64,
    },
    /// Logistic, variance π²/3.
    Logistic,
    /// Laplace, variance 2.
    Laplace,
}

/// What [`Base::from_str`] understands.
const EXPECTED: &str = "normal, sech[:C] (default π/2), logistic or laplace";

impl Base {
    /// The unit-variance hyperbolic secant ½ sech(πs/2).
    pub const SECH: Self = Self::Sech { c: std::f64::consts::FRAC_PI_2 };

    /// Rejects a scale for which it is no density.
    ///
    /// # Errors
    /// Names the parameter and what it must be.
    pub fn validate(&self) -> Result<(), OutOfRange> {
        match *self {
            Self::Sech { c } => positive("c", c),
            Self::Normal | Self::Logistic | Self::Laplace => Ok(()),
        }
    }
}

spelt!(Base);

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Sech { c } => write!(f, "sech:{c}"),
            Self::Logistic => f.write_str("logistic"),
            Self::Laplace => f.write_str("laplace"),
        }
    }
}

impl FromStr for Base {
    type Err = Unknown;

    /// Parses what `Display` writes; `sech` alone has unit variance.
    fn from_str(text: &str) -> Result<Self, Unknown> {
        let unknown = || Unknown::new("base density", text, EXPECTED);
        match words(text).ok_or_else(unknown)? {
            ("normal", parameters) if parameters.is_empty() => Ok(Self::Normal),
            ("logistic", parameters) if parameters.is_empty() => Ok(Self::Logistic),
            ("laplace", parameters) if parameters.is_empty() => Ok(Self::Laplace),
            ("sech", parameters) => match parameters[..] {
                [] => Ok(Self::SECH),
                [c] => Ok(Self::Sech { c }),
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
        for base in [Base::Normal, Base::SECH, Base::Sech { c: 1.0 }, Base::Logistic, Base::Laplace] {
            assert_eq!(base.to_string().parse(), Ok(base));
        }
        assert!("normal:1".parse::<Base>().is_err());
        assert!("sech:-1".parse::<Base>().unwrap().validate().is_err());
    }
}
