//! Rounding to bf16 against plain integers, and products of rounded factors against those of the factors.

use faer::Mat;

use super::super::tests::random;
use super::super::{Onto, ProductKernel, multiply};
use super::*;

/// What the instructions do to a factor: to nearest, ties to even; a denormal number is 0, a NaN is quiet.
pub(in super::super) fn rounded(x: f32) -> f32 {
    let bits = x.to_bits();
    let sign = bits & 0x8000_0000;
    f32::from_bits(if x.is_nan() {
        (bits | 0x40_0000) & 0xffff_0000
    } else if bits & 0x7f80_0000 == 0 {
        sign
    } else {
        (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff_0000
    })
}

/// Whether there is anything to test; says so where there is not.
#[allow(clippy::disallowed_macros, reason = "a test that is skipped says so")]
fn is_there() -> bool {
    if !is_detected() {
        eprintln!("skipped: this processor has no AVX512-BF16");
    }
    is_detected()
}

/// The sixteen pairs of numbers 0–15 and 16–31, by each way to pack them.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn packed(numbers: &[f32; 32]) -> [[f32; 16]; 4] {
    let mut slots = [[0.0; 16]; 4];
    let mut across = [[0.0; 16]; 16];
    let (from, rows) = (numbers.as_ptr(), across.as_mut_ptr().cast::<f32>());
    // Row i has number i, number 16 + i, and zeros.
    for i in 0..16 {
        (across[i][0], across[i][1]) = (numbers[i], numbers[16 + i]);
    }
    // SAFETY: the features are there; two columns of sixteen numbers, or sixteen rows of as many.
    unsafe {
        Pairs::gather(from, 16).store(slots[0].as_mut_ptr());
        Pairs::gather_first(from, 16, 2, 16).store(slots[1].as_mut_ptr());
        for (i, slot) in slots[2].iter_mut().enumerate() {
            *slot = Pairs::slot(from.add(i), 16, 2);
        }
        let mut square = [0.0; 64];
        for half in [0, 8] {
            Pairs::transpose(rows.add(half * 16), 16, square.as_mut_ptr(), 8);
            slots[3][half..half + 8].copy_from_slice(&square[..8]);
        }
    }
    slots
}

#[test]
fn factors_are_rounded_to_nearest() {
    if !is_there() {
        return;
    }
    let special = [
        0.0,
        -0.0,
        1.0,
        f32::NAN,
        -f32::NAN,
        f32::from_bits(0x7f80_0001),
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        -f32::MIN_POSITIVE,
        f32::MIN_POSITIVE / 2.0,
        -1e-45,
        // Ties, to even, and the numbers next to them.
        f32::from_bits(0x3f80_8000),
        f32::from_bits(0x3f81_8000),
        f32::from_bits(0x3f80_8001),
        f32::from_bits(0x3f81_7fff),
        // The last ones that are finite, and the first ones that are not.
        f32::from_bits(0x7f7f_7fff),
        f32::from_bits(0x7f7f_8000),
    ];
    let mut bits = 1_u32;
    let mut any = std::iter::repeat_with(|| {
        bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from_bits(bits)
    });
    for round in 0..20_000 {
        let mut numbers = [0.0; 32];
        numbers.fill_with(|| any.next().unwrap());
        if round < 32 {
            for (i, special) in special.iter().enumerate() {
                numbers[(i + round) % 32] = *special;
            }
        }
        // SAFETY: the instructions are there.
        for (way, slots) in unsafe { packed(&numbers) }.iter().enumerate() {
            for i in 0..16 {
                let halves = [slots[i].to_bits() << 16, slots[i].to_bits() & 0xffff_0000];
                let expected = [rounded(numbers[i]), rounded(numbers[16 + i])].map(f32::to_bits);
                assert_eq!(halves, expected, "way {way}: {:e} and {:e}", numbers[i], numbers[16 + i]);
            }
        }
    }
}

/// The pair of a last step that has no neighbour, and rows beyond the last.
#[test]
fn what_is_beyond_a_matrix_is_zero() {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn beyond(numbers: &[f32; 3]) -> ([f32; 16], f32) {
        let mut slots = [f32::NAN; 16];
        // SAFETY: the features are there, and three numbers are read.
        unsafe {
            Pairs::gather_first(numbers.as_ptr(), usize::MAX / 8, 1, 3).store(slots.as_mut_ptr());
            (slots, Pairs::slot(numbers.as_ptr(), usize::MAX / 8, 1))
        }
    }
    if is_there() {
        // SAFETY: the instructions are there.
        let (slots, slot) = unsafe { beyond(&[1.0, 2.0, 3.0]) };
        let lower = |x: f32| x.to_bits() >> 16;
        assert_eq!(slots[..3].iter().map(|slot| slot.to_bits()).collect::<Vec<_>>(), [1.0, 2.0, 3.0].map(lower));
        assert!(slots[3..].iter().all(|slot| slot.to_bits() == 0));
        assert_eq!(slot.to_bits(), lower(1.0));
    }
}

/// |ãb̃ − ab| ≤ (2u + u²)|ab| for two factors rounded to 8 bits, u = 2⁻⁸ — and a product that is off by as much as no
/// rounding to more bits could be.
#[test]
fn a_product_is_as_exact_as_its_factors() {
    if !is_there() {
        return;
    }
    let (m, n, k) = (70, 40, 513);
    let (a, b) = (random::<f32>(m, k, 5), random::<f32>(k, n, 6));
    let mut c = Mat::<f32>::zeros(m, n);
    assert!(multiply(ProductKernel::Bf16, 1.0, a.as_ref(), b.as_ref(), Onto::Overwrite, c.as_mut()));
    let u = 0.5_f64.powi(8);
    let mut worst = 0.0_f64;
    for i in 0..m {
        for j in 0..n {
            let term = |l: usize| f64::from(a[(i, l)]) * f64::from(b[(l, j)]);
            let (sum, size) = (0..k).fold((0.0, 0.0), |(sum, size), l| (sum + term(l), size + term(l).abs()));
            let error = (f64::from(c[(i, j)]) - sum).abs() / size;
            assert!(error <= 2.0 * u + u * u + 32.0 * f64::from(f32::EPSILON), "{error:e} at {i}, {j}");
            worst = worst.max(error);
        }
    }
    assert!(worst > 0.5_f64.powi(13), "{worst:e}: factors were not rounded to bf16");
}

#[test]
fn what_is_not_finite_stays_so_and_what_is_tiny_is_zero() {
    if !is_there() {
        return;
    }
    let multiply = |a: f32, b: f32| {
        let mut c = Mat::<f32>::zeros(5, 5);
        let (a, b) = (Mat::from_fn(5, 1, |_, _| a), Mat::from_fn(1, 5, |_, _| b));
        assert!(multiply(ProductKernel::Bf16, 1.0, a.as_ref(), b.as_ref(), Onto::Overwrite, c.as_mut()));
        c[(4, 4)]
    };
    assert!(multiply(f32::NAN, 1.0).is_nan() && multiply(f32::INFINITY, 0.0).is_nan());
    assert_eq!(multiply(f32::INFINITY, -2.0), f32::NEG_INFINITY);
    assert_eq!(multiply(f32::MAX, 1.0), f32::INFINITY, "rounded up beyond the largest number");
    assert_eq!(multiply(f32::MIN_POSITIVE / 2.0, 1e30), 0.0, "a factor");
    assert_eq!(multiply(1e-30, 1e-10), 0.0, "a sum");
}
