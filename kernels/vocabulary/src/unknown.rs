//! A name that names nothing.

use std::fmt;

use crate::excerpt;

/// A name that is not in the list of the things it should name. Its first 60 characters are kept, control characters
/// made visible: it may come from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// What was being named.
    pub kind: &'static str,
    /// The name.
    pub name: String,
    /// What would have been understood.
    pub expected: String,
}

impl Unknown {
    /// A name of this kind that is none of those expected.
    pub fn new(kind: &'static str, name: &str, expected: impl Into<String>) -> Self {
        Self { kind, name: excerpt(name, 60), expected: expected.into() }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown {} `{}`: expected {}", self.kind, self.name, self.expected)
    }
}

impl std::error::Error for Unknown {}
