//! The operations as functions of one element, for [`sweep`](super::sweep).

use super::activation::Sigma;
use super::density::Density;
use super::real::Real;
use super::sweep::Map;

/// Maps over the functions in parentheses: numbers that change and numbers that are read, and the new ones from both.
macro_rules! maps {
    ($(
        $(#[$doc:meta])+
        $name:ident($($function:ident: $kind:ident),*), $m:literal, $r:literal
            => |$map:pat_param, $changed:pat_param, $read:pat_param| $new:expr;
    )+) => {
        $(
            $(#[$doc])+
            #[derive(Clone, Copy)]
            pub(super) struct $name<$($function),*>($(pub(super) $function),*);

            impl<T: Real, $($function: $kind<T>),*> Map<T, $m, $r> for $name<$($function),*> {
                #[inline(always)]
                fn apply<const FMA: bool>(self, $changed: [T; $m], $read: [T; $r]) -> [T; $m] {
                    let $map = self;
                    $new
                }
            }
        )+
    };
}

maps! {
    /// y ← y + b.
    AddBias(), 1, 1 => |_, [y], [b]| [y + b];

    /// z ← σ(y).
    Activate(A: Sigma), 1, 1 => |Activate(sigma), _, [y]| [sigma.value::<FMA>(y)];

    /// y ← y + b, z ← σ(y).
    BiasActivate(A: Sigma), 2, 1 => |BiasActivate(sigma), [y, _], [b]| [y + b, sigma.value::<FMA>(y + b)];

    /// δ ← v σ'(y) + r(y).
    BackwardError(A: Sigma), 1, 2 => |BackwardError(sigma), _, [v, y]| [sigma.backward_error::<FMA>(v, y)];

    /// δ ← ψ(σ(y)) σ'(y) + r(y).
    OutputError(A: Sigma, B: Density), 1, 1 => |OutputError(sigma, density), _, [y]| {
        let psi = density.score::<FMA>(sigma.value::<FMA>(y));
        [sigma.backward_error::<FMA>(psi, y)]
    };

    /// (slope, ratio) ← (σ'(y), r(y)).
    SlopeAndRatio(A: Sigma), 2, 1 => |SlopeAndRatio(sigma), _, [y]| {
        let (slope, ratio) = sigma.slope_and_ratio::<FMA>(y);
        [slope, ratio]
    };

    /// log σ'(y).
    LogSlope(A: Sigma), 1, 0 => |LogSlope(sigma), [y], []| [sigma.log_slope::<FMA>(y)];

    /// ψ ← ψ(z).
    Score(B: Density), 1, 1 => |Score(density), _, [z]| [density.score::<FMA>(z)];

    /// log p(z).
    LogDensity(B: Density), 1, 0 => |LogDensity(density), [z], []| [density.log_density::<FMA>(z)];
}
