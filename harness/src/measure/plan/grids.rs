//! `--grids` and `--kernel`: the grids of convolution layers, and the taps of their kernels.

use std::str::FromStr;

use super::dims::Dims;

/// Rows and columns, by ascending number of points; no two have the same number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grids(pub(crate) Vec<[usize; 2]>);

impl FromStr for Grids {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut grids: Vec<[usize; 2]> = Vec::new();
        for item in text.split(',') {
            match rectangle(item)? {
                Some(grid) => grids.push(grid),
                None => grids.extend(item.parse::<Dims>()?.0.into_iter().map(|points| [1, points])),
            }
        }
        let points = |[rows, cols]: &[usize; 2]| rows.saturating_mul(*cols);
        grids.sort_by_key(|grid| (points(grid), *grid));
        grids.dedup();
        if let Some([a, b]) = grids.array_windows().find(|[a, b]| points(a) == points(b)) {
            let show = |[rows, cols]: &[usize; 2]| format!("{rows}x{cols}");
            return Err(format!("{} and {} have the same number of points", show(a), show(b)));
        }
        Ok(Self(grids))
    }
}

/// Taps along each axis; `None` for every tap of whatever grid it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kernel(pub(crate) Option<[usize; 2]>);

impl FromStr for Kernel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "full" {
            return Ok(Self(None));
        }
        let kernel = size(text)?;
        kernel
            .map(|kernel| Self(Some(kernel)))
            .ok_or_else(|| format!("`{text}` is not full, a number of taps, or a size like 3x3"))
    }
}

/// `--grid`: `8x8`, or a number of points in one row.
pub(crate) fn grid(text: &str) -> Result<[usize; 2], String> {
    size(text)?.ok_or_else(|| format!("`{text}` is neither a number of points nor a size like 8x8"))
}

/// `8x8`, or a number, which is that of one row.
fn size(text: &str) -> Result<Option<[usize; 2]>, String> {
    if let Some(size) = rectangle(text)? {
        return Ok(Some(size));
    }
    Ok(text.parse().ok().filter(|columns| *columns > 0).map(|columns| [1, columns]))
}

/// `8x8`; `None` for a text without an x.
fn rectangle(text: &str) -> Result<Option<[usize; 2]>, String> {
    let Some((rows, cols)) = text.split_once('x') else { return Ok(None) };
    let size = |text: &str| text.trim().parse().ok().filter(|size| *size > 0);
    match (size(rows), size(cols)) {
        (Some(rows), Some(cols)) => Ok(Some([rows, cols])),
        _ => Err(format!("`{text}` is not a size like 8x8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<[usize; 2]>, String> {
        text.parse::<Grids>().map(|grids| grids.0)
    }

    #[test]
    fn lines_ranges_and_rectangles_mix_sorted_by_points() {
        assert_eq!(read("50,8x8,10:30"), Ok(vec![[1, 10], [1, 20], [1, 30], [1, 50], [8, 8]]));
        assert_eq!(read("5x1,4"), Ok(vec![[1, 4], [5, 1]]));
        assert_eq!(read("7,7"), Ok(vec![[1, 7]]));
    }

    #[test]
    fn errors_name_the_item() {
        for (text, named) in
            [("8x", "`8x`"), ("0x3", "`0x3`"), ("10,abc", "`abc`"), ("64,8x8", "1x64 and 8x8"), ("", "empty")]
        {
            let message = read(text).unwrap_err();
            assert!(message.contains(named), "{text}: {message}");
        }
    }

    #[test]
    fn kernels_are_full_or_have_a_size() {
        assert_eq!("full".parse(), Ok(Kernel(None)));
        assert_eq!("3".parse(), Ok(Kernel(Some([1, 3]))));
        assert_eq!("3x5".parse(), Ok(Kernel(Some([3, 5]))));
        for text in ["", "0", "3x", "big"] {
            assert!(text.parse::<Kernel>().unwrap_err().contains(&format!("`{text}`")), "{text}");
        }
        assert_eq!((grid("8x4"), grid("12")), (Ok([8, 4]), Ok([1, 12])));
        for text in ["full", "0", "8x", ""] {
            assert!(grid(text).unwrap_err().contains(&format!("`{text}`")), "{text}");
        }
    }
}
