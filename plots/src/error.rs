//! What can go wrong between records and a picture.

use relgrad_vocabulary::DeviceKind;

use crate::Figure;

/// Why a figure could not be drawn; each message is one line that says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No figure has this name.
    #[error("unknown figure `{name}`: choose one of {choices}", choices = Figure::names())]
    UnknownFigure {
        /// The name asked for.
        name: String,
    },
    /// Nothing was measured on the device that the figure shows.
    #[error("no record has a measured time on {device}: run `relgrad sweep --device {device}`")]
    NothingMeasured {
        /// The device.
        device: DeviceKind,
    },
    /// No dimension has both times of a speed-up.
    #[error("no dimension has a measured time of relative and of ordinary or autodiff: run `relgrad sweep` with them")]
    NoSpeedup,
    /// No measured cell has a peak memory.
    #[error("no record has a peak memory: run `relgrad sweep` on a system that reports resident memory")]
    NoPeakMemory,
    /// No cell was traced for both methods of the memory figure.
    #[error("no record has a memory trace: run `relgrad sweep` with relative and autodiff")]
    NoMemoryTrace,
    /// Traces exist, but no dimension has one of each method.
    #[error(
        "no dimension has a memory trace of both relative and autodiff: run `relgrad sweep` with both methods at the \
         same D"
    )]
    NoCommonTrace,
    /// No method was measured at two dimensions.
    #[error("no method has measured times at two dimensions: run `relgrad sweep` with several --dims")]
    NoNeighbours,
    /// No method has a fit.
    #[error("no method has measured times at three dimensions to fit: run `relgrad sweep` with more --dims")]
    NoFit,
    /// The machine's ceilings were not measured.
    #[error("run.json has no measured ceilings of the machine beside measured times: run `relgrad sweep` again")]
    NoRoofline,
    /// One batch size makes no map.
    #[error(
        "speed-ups exist at one batch size only, or at more than a map can show: run `relgrad sweep` with several, as \
         in --batch 10,100,1000"
    )]
    OneBatchSize,
    /// An experiment has no values to show.
    #[error("the figure has no values to show: run the experiment again with its data at hand (--data)")]
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
    /// The drawing backend failed.
    #[error("cannot render the figure: {0}")]
    Render(String),
    /// Memory is short.
    #[error("cannot draw the figure: {} MiB of memory cannot be had; draw it where there is more", bytes >> 20)]
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
