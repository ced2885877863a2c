//! `--dims`: lists and ranges of the data dimension D.

use std::str::FromStr;

/// Mantissas of the grid that ranges are filled from: four round numbers a decade, nearly even on a log axis.
///
/// Round numbers rather than exact powers of 10^¼, so that sweeps over different ranges share their dimensions and
/// their ratios can be compared directly.
const MANTISSAS: [usize; 4] = [1, 2, 3, 5];

/// Largest dimension accepted; one weight matrix of this size would take 400 terabytes.
pub(crate) const MAX_DIM: usize = 10_000_000;

/// Data dimensions, ascending and without repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dims(pub(crate) Vec<usize>);

impl FromStr for Dims {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut dims = Vec::new();
        for item in text.split(',') {
            match item.split_once(':') {
                None => dims.push(dimension(item, item)?),
                Some((low, high)) => {
                    let (low, high) = (dimension(low, item)?, dimension(high, item)?);
                    if low > high {
                        return Err(format!("`{item}` is descending; write {high}:{low}"));
                    }
                    dims.extend(range(low, high));
                }
            }
        }
        dims.sort_unstable();
        dims.dedup();
        Ok(Self(dims))
    }
}

/// Both ends and every 1-2-3-5 × 10ᵏ between them.
fn range(low: usize, high: usize) -> Vec<usize> {
    let decades = std::iter::successors(Some(1usize), |decade| decade.checked_mul(10));
    let grid = decades
        .take_while(|decade| *decade <= high)
        .flat_map(|decade| MANTISSAS.map(|mantissa| mantissa * decade))
        .filter(|dim| (low..=high).contains(dim));
    [low].into_iter().chain(grid).chain([high]).collect()
}

/// One number; `item` is what the user wrote around it.
fn dimension(text: &str, item: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(dim) if (1..=MAX_DIM).contains(&dim) => Ok(dim),
        _ if item.trim().is_empty() => Err("an empty item; write dimensions like 10,20,50 or 10:20000".to_string()),
        _ => Err(format!("`{item}` is neither a dimension from 1 to {MAX_DIM} nor a range like 10:20000")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<usize>, String> {
        text.parse::<Dims>().map(|dims| dims.0)
    }

    #[test]
    fn the_default_range_has_four_a_decade_and_both_ends() {
        assert_eq!(
            read("10:20000").unwrap(),
            [10, 20, 30, 50, 100, 200, 300, 500, 1000, 2000, 3000, 5000, 10_000, 20_000]
        );
    }

    #[test]
    fn ranges_keep_ends_that_are_off_the_grid() {
        assert_eq!(read("7:64").unwrap(), [7, 10, 20, 30, 50, 64]);
        assert_eq!(read("17:17").unwrap(), [17]);
        assert_eq!(read("1:3").unwrap(), [1, 2, 3]);
    }

    #[test]
    fn lists_and_ranges_mix_sorted_without_repeats() {
        assert_eq!(read("500, 10:30,20,10").unwrap(), [10, 20, 30, 500]);
    }

    #[test]
    fn errors_name_the_item() {
        for (text, named) in [
            ("10,x,30", "`x`"),
            ("10,,20", "empty item"),
            ("", "empty item"),
            ("0", "`0`"),
            ("50:10", "write 10:50"),
            ("10:", "`10:`"),
            ("1:2:3", "`1:2:3`"),
            ("-5", "`-5`"),
            ("99999999999", "`99999999999`"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(named), "{text}: {message}");
        }
    }
}
