//! The one list of methods that can be measured.

use std::fmt;
use std::str::FromStr;

use crate::Unknown;

/// A way to a gradient (or a gradient step), by the name that the command line, records and figures use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// Relative gradient \[M11\], \[M13\]–\[M14\].
    Relative,
    /// Transposed relative gradient \[M12\], \[M15\].
    Transposed,
    /// Back-propagation and explicit inverses \[M9\].
    Ordinary,
    /// Full Jacobians, all of the batch in memory \[M20\]–\[M21\].
    Autodiff,
    /// Full Jacobians, a few at a time.
    AutodiffStreamed,
    /// Relative gradient applied as it is computed, none stored \[M16\].
    RelativeInPlace,
}

impl Method {
    /// Every method, in the order in which lists show them.
    pub const ALL: [Self; 6] = [
        Self::Relative,
        Self::Transposed,
        Self::Ordinary,
        Self::Autodiff,
        Self::AutodiffStreamed,
        Self::RelativeInPlace,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relative => "relative",
            Self::Transposed => "transposed",
            Self::Ordinary => "ordinary",
            Self::Autodiff => "autodiff",
            Self::AutodiffStreamed => "autodiff-streamed",
            Self::RelativeInPlace => "relative-inplace",
        }
    }

    /// What it is, in a phrase.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Relative => "relative gradient, stored: no inverse, O(N·D²)",
            Self::Transposed => "transposed relative gradient, stored: no inverse, O(N·D²)",
            Self::Ordinary => "back-propagation and the explicit inverse of every weight, O(D³)",
            Self::Autodiff => "full Jacobian of every sample by forward mode, all in memory, O(N·D³)",
            Self::AutodiffStreamed => "full Jacobians, a few samples at a time, O(N·D³)",
            Self::RelativeInPlace => "relative gradient step applied in place, no gradient stored, O(N·D²)",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Method {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        Self::ALL
            .into_iter()
            .find(|method| method.name() == text)
            .ok_or_else(|| Unknown::new("method", text, Self::ALL.map(Self::name).join(", ")))
    }
}
