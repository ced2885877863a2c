//! Densities of points strewn along curves with noise, by quadrature: the entropies of toy densities without a closed
//! form.

/// Points c(t) + noise with t uniform on [0, 1) along curves, and the noise in each coordinate normal with the standard
/// deviation `noise` plus, independently, uniform on [0, `smear`):
///
/// p(x) = Σ_j w_j (1/M) Σ_m Π_i Σ_k v_k N(x_i; c_j,i(t_m) + smear s_k, noise²),
///
/// by the midpoint rule in t, whose steps along a curve of length ℓ are ℓ/[`NODES`] and must stay below the noise, and
/// a Gauss–Legendre rule (v_k, s_k) in the smear.
pub(super) struct Strewn {
    /// w_j/M and c_j(t_m).
    nodes: Vec<(f64, [f64; 2])>,
    noise: f64,
    smear: f64,
}

impl Strewn {
    /// Along curves of the same weight.
    pub(super) fn along(curves: &[fn(f64) -> [f64; 2]], noise: f64, smear: f64) -> Self {
        let weight = 1.0 / (NODES * curves.len()) as f64;
        let midpoints = || (0..NODES).map(|m| (m as f64 + 0.5) / NODES as f64);
        let nodes = curves.iter().flat_map(|curve| midpoints().map(|t| (weight, curve(t)))).collect();
        Self { nodes, noise, smear }
    }

    /// p(x).
    pub(super) fn density(&self, x: [f64; 2]) -> f64 {
        let Self { nodes, noise, smear } = self;
        let reach = CUT * noise + smear;
        let near = nodes.iter().filter(|(_, c)| (x[0] - c[0]).abs() < reach && (x[1] - c[1]).abs() < reach);
        near.map(|(w, c)| w * smeared(x[0] - c[0], *noise, *smear) * smeared(x[1] - c[1], *noise, *smear)).sum()
    }
}

/// Midpoints a curve.
const NODES: usize = 2000;

/// Standard deviations beyond which noise is left out: 10⁻¹⁴ of its mass.
const CUT: f64 = 8.0;

/// Density at `x` of normal noise plus a uniform number from [0, `smear`).
fn smeared(x: f64, noise: f64, smear: f64) -> f64 {
    if smear == 0.0 {
        return normal(x, noise);
    }
    LEGENDRE.iter().map(|(node, weight)| weight * normal(x - smear * node, noise)).sum()
}

fn normal(x: f64, deviation: f64) -> f64 {
    let z = x / deviation;
    (-0.5 * z * z).exp() / (std::f64::consts::TAU.sqrt() * deviation)
}

/// Nodes and weights of the four-point Gauss–Legendre rule on [0, 1] (Abramowitz & Stegun, table 25.4).
const LEGENDRE: [(f64, f64); 4] = [
    (0.069_431_844_202_973_71, 0.173_927_422_568_726_93),
    (0.330_009_478_207_571_87, 0.326_072_577_431_273_07),
    (0.669_990_521_792_428_1, 0.326_072_577_431_273_07),
    (0.930_568_155_797_026_3, 0.173_927_422_568_726_93),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment with normal noise, and a point with a smear: both are a difference of normal distribution functions,
    /// known at the middle of a wide one and by its Taylor series over a narrow one. Tolerances: rounding, and
    /// the fourth order of the smear, 3 (smear/noise)⁴/1920 a coordinate.
    #[test]
    fn a_segment_and_a_smeared_point_have_their_densities() {
        let found = Strewn::along(&[|t| [4.0 * t - 2.0, 0.0]], 0.1, 0.0).density([0.3, 0.05]);
        let expected = 0.25 * normal(0.05, 0.1);
        assert!((found / expected - 1.0).abs() < 1e-9, "{found} for {expected}");
        let point: fn(f64) -> [f64; 2] = |_| [1.0, -1.0];
        let (noise, smear) = (0.5, 0.1);
        let found = Strewn::along(&[point, point], noise, smear).density([1.0 + 0.5 * smear, -1.0]);
        let series = |x: f64| {
            let (z, h) = (x / noise, smear / noise);
            normal(x, noise) * (1.0 + (z * z - 1.0) * h * h / 24.0)
        };
        let expected = series(0.0) * series(0.5 * smear);
        assert!((found / expected - 1.0).abs() < 1e-5, "{found} for {expected}");
        assert_eq!(Strewn::along(&[point], 0.1, 0.0).density([3.0, 0.0]), 0.0);
    }
}
