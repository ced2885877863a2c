//! Against sums in f64, at sizes on both sides of every block edge, for every instruction set of this processor.

use faer::Mat;

use super::*;

/// Numbers without a pattern, in [−½, ½).
pub(super) fn random<T: Scalar>(rows: usize, cols: usize, seed: u64) -> Mat<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    Mat::from_fn(rows, cols, |_, _| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        T::of((state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5)
    })
}

/// Whether the left and the right operand are transposes of what is stored.
type Form = (bool, bool);

/// The kernels of this processor for a type of numbers.
fn kernels(dtype: Dtype) -> Vec<ProductKernel> {
    let exact = Level::ALL.into_iter().map(ProductKernel::Exact);
    exact.chain([ProductKernel::Bf16]).filter(|kernel| kernel.is_available(dtype)).collect()
}

/// A factor as a kernel has it.
fn factor<T: Scalar>(kernel: ProductKernel, x: T) -> f64 {
    if kernel == ProductKernel::Bf16 { bf16::tests::rounded(x.widen() as f32).into() } else { x.widen() }
}

/// The largest error of a product of the given shape and form, relative to ε times the bound Σ|a||b| of rounding. What
/// bf16 makes of the factors is no error: [`bf16::tests`] bounds that.
fn error<T: Scalar>(kernel: ProductKernel, (m, n, k): (usize, usize, usize), form: Form, addend: usize) -> f64 {
    let stored = |transposed: bool, rows, cols, seed| {
        if transposed { random::<T>(cols, rows, seed) } else { random::<T>(rows, cols, seed) }
    };
    let (a, b) = (stored(form.0, m, k, 1), stored(form.1, k, n, 2));
    let a = if form.0 { a.transpose() } else { a.as_ref() };
    let b = if form.1 { b.transpose() } else { b.as_ref() };
    let (old, other) = (random::<T>(m, n, 3), random::<T>(m, n, 4));
    let (alpha, beta) = (T::of(0.75), T::of(1.25));
    let mut c = if addend == 0 { Mat::from_fn(m, n, |_, _| T::of(f64::NAN)) } else { old.clone() };
    let onto = match addend {
        0 => Onto::Overwrite,
        1 => Onto::Scaled(beta),
        _ => Onto::Matrix(other.as_ref()),
    };
    assert!(multiply(kernel, alpha, a, b, onto, c.as_mut()));
    let mut worst = 0.0_f64;
    for i in 0..m {
        for j in 0..n {
            let term = |l: usize| factor(kernel, a[(i, l)]) * factor(kernel, b[(l, j)]);
            let m = match addend {
                0 => 0.0,
                1 => beta.widen() * old[(i, j)].widen(),
                _ => other[(i, j)].widen(),
            };
            let exact = m + alpha.widen() * (0..k).map(term).sum::<f64>();
            let scale = m.abs() + (0..k).map(|l| term(l).abs()).sum::<f64>() + f64::MIN_POSITIVE;
            let error = (c[(i, j)].widen() - exact).abs() / (T::EPS * scale);
            assert!(!error.is_nan(), "NaN at {i}, {j}");
            worst = worst.max(error);
        }
    }
    worst
}

fn check<T: Scalar>() {
    for kernel in kernels(T::DTYPE) {
        for m in [1, 7, 8, 9, 16, 17, 33, 97] {
            for n in [1, 2, 5, 6, 7, 8, 10, 12, 13, 14, 25] {
                for k in [0, 1, 3, 4, 7, 8, 31] {
                    for (i, form) in FORMS.into_iter().enumerate() {
                        let error = error::<T>(kernel, (m, n, k), form, (i + m + n + k) % 3);
                        assert!(error <= BOUND, "{kernel:?}, {m}×{n}×{k}, {form:?}: {error} ε");
                    }
                }
            }
        }
        for shape in [(257, 40, 255), (130, 13, 256), (100, 1100, 257), (250, 101, 513), (31, 700, 300), (97, 26, 1025)]
        {
            for (i, form) in FORMS.into_iter().enumerate() {
                let error = error::<T>(kernel, shape, form, i % 3);
                assert!(error <= BOUND, "{kernel:?}, {shape:?}, {form:?}: {error} ε");
            }
        }
    }
}

const FORMS: [Form; 4] = [(false, false), (true, false), (false, true), (true, true)];

/// In units of ε·Σ|a||b|: a sum of k ≤ 1030 terms, each rounded once, in a few partial sums. Errors add up like √k at
/// random; the worst case, k, is not to be seen.
const BOUND: f64 = 32.0;

#[test]
fn products_are_sums_of_products() {
    check::<f32>();
    check::<f64>();
}

#[test]
fn a_wide_left_factor_is_streamed() {
    // 8 MiB are exceeded, so that lines are asked for ahead of time, also behind the last block.
    for kernel in kernels(Dtype::F32) {
        for form in &FORMS[..2] {
            let error = error::<f32>(kernel, (2100, 13, 1030), *form, 2);
            assert!(error <= BOUND, "{kernel:?}, {form:?}: {error} ε");
        }
    }
}
