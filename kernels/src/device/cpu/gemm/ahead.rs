//! Fetching ahead of time.

use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};

use super::LINE;

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

    /// Runs of `bytes` contiguous bytes, to be asked for in `calls` calls.
    pub(super) fn new<N>(
        start: *const N,
        bytes: usize,
        (runs, stride): (usize, usize),
        calls: usize,
    ) -> Self {
        let lines = bytes.div_ceil(LINE) + 1;
        let share = (runs * lines).div_ceil(calls.max(1));
        Self { start: start.cast(), stride, runs, lines, line: 0, share }
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
