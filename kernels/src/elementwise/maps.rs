//! The public operations as functions of one element, for [`sweep`](super::sweep).

use super::activation::Sigma;
use super::density::Density;
use super::real::Real;
use super::sweep::Map;

/// y ← y + b.
#[derive(Clone, Copy)]
pub(super) struct AddBias;

impl<T: Real> Map<T, 1, 1> for AddBias {
    #[inline(always)]
    fn apply<const FMA: bool>(self, [y]: [T; 1], [b]: [T; 1]) -> [T; 1] {
        [y + b]
    }
}

/// z ← σ(y).
#[derive(Clone, Copy)]
pub(super) struct Activate<A>(pub(super) A);

impl<T: Real, A: Sigma<T>> Map<T, 1, 1> for Activate<A> {
    #[inline(always)]
    fn apply<const FMA: bool>(self, _: [T; 1], [y]: [T; 1]) -> [T; 1] {
        [self.0.value::<FMA>(y)]
    }
}

/// y ← y + b, z ← σ(y).
#[derive(Clone, Copy)]
pub(super) struct BiasActivate<A>(pub(super) A);

impl<T: Real, A: Sigma<T>> Map<T, 2, 1> for BiasActivate<A> {
    #[inline(always)]
    fn apply<const FMA: bool>(self, [y, _]: [T; 2], [b]: [T; 1]) -> [T; 2] {
        let y = y + b;
        [y, self.0.value::<FMA>(y)]
    }
}

/// δ ← v σ'(y) + r(y).
#[derive(Clone, Copy)]
pub(super) struct BackwardError<A>(pub(super) A);

impl<T: Real, A: Sigma<T>> Map<T, 1, 2> for BackwardError<A> {
    #[inline(always)]
    fn apply<const FMA: bool>(self, _: [T; 1], [v, y]: [T; 2]) -> [T; 1] {
        [self.0.backward_error::<FMA>(v, y)]
    }
}

/// δ ← ψ(σ(y)) σ'(y) + r(y).
#[derive(Clone, Copy)]
pub(super) struct OutputError<A, B>(pub(super) A, pub(super) B);

impl<T: Real, A: Sigma<T>, B: Density<T>> Map<T, 1, 1> for OutputError<A, B> {
    #[inline(always)]
    fn apply<const FMA: bool>(self, _: [T; 1], [y]: [T; 1]) -> [T; 1] {
        let z = self.0.value::<FMA>(y);
        [self.0.backward_error::<FMA>(self.1.score::<FMA>(z), y)]
    }
}

/// (slope, ratio) ← (σ'(y), r(y)).
#[derive(Clone, Copy)]
pub(super) struct SlopeAndRatio<A>(pub(super) A);

impl<T: Real, A: Sigma<T>> Map<T, 2, 1> for SlopeAndRatio<A> {
    #[inline(always)]
    fn apply<const FMA: bool>(self, _: [T; 2], [y]: [T; 1]) -> [T; 2] {
        let (slope, ratio) = self.0.slope_and_ratio::<FMA>(y);
        [slope, ratio]
    }
}

/// log σ'(y).
#[derive(Clone, Copy)]
pub(super) struct LogSlope<A>(pub(super) A);

impl<T: Real, A: Sigma<T>> Map<T, 1, 0> for LogSlope<A> {
    #[inline(always)]
    fn apply<const FMA: bool>(self, [y]: [T; 1], _: [T; 0]) -> [T; 1] {
        [self.0.log_slope::<FMA>(y)]
    }
}

/// ψ ← ψ(z).
#[derive(Clone, Copy)]
pub(super) struct Score<B>(pub(super) B);

impl<T: Real, B: Density<T>> Map<T, 1, 1> for Score<B> {
    #[inline(always)]
    fn apply<const FMA: bool>(self, _: [T; 1], [z]: [T; 1]) -> [T; 1] {
        [self.0.score::<FMA>(z)]
    }
}

/// log p(z).
#[derive(Clone, Copy)]
pub(super) struct LogDensity<B>(pub(super) B);

impl<T: Real, B: Density<T>> Map<T, 1, 0> for LogDensity<B> {
    #[inline(always)]
    fn apply<const FMA: bool>(self, [z]: [T; 1], _: [T; 0]) -> [T; 1] {
        [self.0.log_density::<FMA>(z)]
    }
}
