//! What can go wrong between records and a picture.

use crate::Figure;

/// Why a figure could not be drawn; each message is one line that says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No figure has this name.
    #[error("unknown figure `{name}`: choose one of {choices}", choices = Figure::ALL.map(Figure::name).join(", "))]
    UnknownFigure {
        /// The name asked for.
        name: String,
    },
    /// The records lack what the figure shows; says what to measure.
    #[error("{0}")]
    Missing(String),
    /// An experiment has no values to show.
    #[error("the figure has no values: run the experiment again with its data (--data)")]
    Empty,
    /// A history has too little or too much for a trend.
    #[error(
        "a trend shows 1 to {most} series, one of them over at least two runs: choose fewer with --method and --dim, \
         or add runs"
    )]
    NoTrend {
        /// Most series that can be told apart.
        most: usize,
    },
    /// A figure of this size cannot be read.
    #[error("a figure cannot be {0}")]
    Paper(String),
    /// No format has the extension of the file.
    #[error("{0} must end in .svg, .png or .pdf")]
    Extension(String),
    /// The drawing backend failed.
    #[error("cannot render the figure: {0}")]
    Render(String),
    /// Memory is short.
    #[error("cannot draw the figure: not enough memory ({} MiB needed)", bytes >> 20)]
    Memory {
        /// Bytes that were asked for.
        bytes: usize,
    },
    /// A picture could not be written.
    #[error(transparent)]
    Write(#[from] relgrad_reports::error::Error),
}

/// A [`std::result::Result`] with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;
