//! How activations and base densities are spelled: `smooth:0.3`, `tanh:1:0.1`, `normal`, `sech:1.57`.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::network::{Activation, Base};

/// What [`Activation::from_str`] understands.
const ACTIVATIONS: &str = "smooth[:ALPHA] (s_L, default 0.3) or tanh[:ALPHA:BETA] (s_T, default 1 and 0.1)";

/// What [`Base::from_str`] understands.
const BASES: &str = "normal, sech[:C] (default π/2), logistic or laplace";

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SmoothLeaky { alpha } => write!(f, "smooth:{alpha}"),
            Self::TanhLinear { alpha, beta } => write!(f, "tanh:{alpha}:{beta}"),
        }
    }
}

impl FromStr for Activation {
    type Err = Error;

    /// Parses what `Display` writes; parameters may be left out for the paper's.
    fn from_str(text: &str) -> Result<Self> {
        let unknown = || Error::unknown("activation", text, ACTIVATIONS);
        match parse(text).ok_or_else(unknown)? {
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
    type Err = Error;

    /// Parses what `Display` writes; `sech` alone has unit variance.
    fn from_str(text: &str) -> Result<Self> {
        let unknown = || Error::unknown("base density", text, BASES);
        match parse(text).ok_or_else(unknown)? {
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

/// `name:number:number…`
fn parse(text: &str) -> Option<(&str, Vec<f64>)> {
    let mut parts = text.split(':');
    let name = parts.next()?;
    Some((name, parts.map(|part| part.parse().ok()).collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_displayed_parses_back() {
        for activation in
            [Activation::SmoothLeaky { alpha: 1e-6 }, Activation::TanhLinear { alpha: 1.5, beta: 0.1 }]
        {
            assert_eq!(activation.to_string().parse(), Ok(activation));
        }
        for base in [Base::Normal, Base::SECH, Base::Sech { c: 1.0 }, Base::Logistic, Base::Laplace] {
            assert_eq!(base.to_string().parse(), Ok(base));
        }
    }

    #[test]
    fn nonsense_is_named() {
        for text in ["", "relu", "smooth:", "smooth:x", "smooth:1:2", "tanh:1"] {
            let error = text.parse::<Activation>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")) && error.contains("smooth"), "{error}");
        }
        assert!("normal:1".parse::<Base>().is_err());
    }
}
