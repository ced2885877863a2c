//! What `--coupling conv` asks for.

use relgrad_reports::training::ConvolutionLayers;
use relgrad_reports::units::counted;

use super::Arguments;
use crate::data::DataSet;
use crate::error::{Error, Result};

/// Refuses what is for `--coupling conv` without it.
pub(super) fn require(arguments: &Arguments) -> Result<()> {
    let Arguments { coupling, grid, channels, kernel, .. } = arguments;
    if coupling == "dense" && (grid.is_some() || channels.is_some() || kernel.is_some()) {
        return Err(Error::Usage("--grid, --channels and --kernel are for --coupling conv".to_string()));
    }
    Ok(())
}

/// The layers of `--coupling conv`, on the grid of the set's pictures unless another is asked for.
pub(super) fn layers(arguments: &Arguments, set: &DataSet) -> Result<Option<ConvolutionLayers>> {
    if arguments.coupling == "dense" {
        return Ok(None);
    }
    let dim = set.parts.dim();
    let channels = arguments.channels.unwrap_or(1);
    let grid = arguments.grid.or_else(|| set.picture.map(|(rows, columns)| [rows, columns]));
    let Some(grid) = grid else {
        let name = &set.name;
        return Err(Error::Usage(format!("{name} has no pictures: say what its grid is, as in --grid 1x{dim}")));
    };
    let [rows, columns] = grid;
    if channels.saturating_mul(rows).saturating_mul(columns) != dim {
        return Err(Error::Usage(format!(
            "{} on a grid of {rows}x{columns} do not make the {dim} columns of {}: choose another --grid or --channels",
            counted(channels, "channel"),
            set.name
        )));
    }
    Ok(Some(ConvolutionLayers { channels, grid, kernel: arguments.kernel.and_then(|kernel| kernel.0) }))
}
