//! Fetching ahead of time.

use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};

use super::LINE;
use super::pack::Source;

/// Lines of the next block of the left factor, asked for bit by bit while this one is multiplied.
pub(super) struct Ahead {
    start: *const u8,
    /// Bytes from one run of lines to the next, and runs and lines still to ask for.
    stride: usize,
    runs: usize,
    lines: usize,
    line: usize,
    /// Lines to ask for at a time.
    share: usize,
}

impl Ahead {
    pub(super) fn nothing() -> Self {
        Self { start: std::ptr::null(), stride: 0, runs: 0, lines: 0, line: 0, share: 0 }
    }

    /// A block of rows×depth numbers, whose columns or rows are contiguous, to be asked for in `calls` calls.
    pub(super) fn new<N>(block: Source<N>, (rows, depth): (usize, usize), calls: usize) -> Self {
        let (run, runs, stride) =
            if block.row_stride == 1 { (rows, depth, block.col_stride) } else { (depth, rows, block.row_stride) };
        if rows == 0 || depth == 0 {
            return Self::nothing();
        }
        let width = size_of::<N>();
        let lines = (run * width).div_ceil(LINE) + 1;
        let share = (runs * lines).div_ceil(calls.max(1));
        Self { start: block.start.cast(), stride: stride * width, runs, lines, line: 0, share }
    }

    #[inline(always)]
    pub(super) fn ask(&mut self) {
        for _ in 0..self.share {
            if self.runs == 0 {
                return;
            }
            // SAFETY: a prefetch reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(self.start.wrapping_add(self.line * LINE).cast()) };
            self.line += 1;
            if self.line == self.lines {
                self.line = 0;
                self.runs -= 1;
                self.start = self.start.wrapping_add(self.stride);
            }
        }
    }
}
