//! What transforms and multiplies spectra, compiled once for each precision, as in `device/cpu/once.rs`: the library of
//! transforms is by far the largest that this crate calls.

use std::sync::Arc;

use faer::linalg::solvers::PartialPivLu;
use faer::{MatMut, MatRef};
use realfft::num_complex::Complex;
use realfft::{ComplexToReal, FftNum, RealFftPlanner, RealToComplex};
use rustfft::{Fft, FftPlanner};

use super::inverse::{Lane, invert};
use super::product::{Side, Spectra, add_outer, apply};

/// The transforms of a grid.
pub struct Plans<T> {
    /// Of a row.
    pub(super) forward: Arc<dyn RealToComplex<T>>,
    pub(super) inverse: Arc<dyn ComplexToReal<T>>,
    /// The complex transforms across rows, for more than one.
    pub(super) across: Option<[Arc<dyn Fft<T>>; 2]>,
}

macro_rules! compiled_once {
    ($(fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $answer:ty)? = $work:path;)*) => {
        /// What a precision does with spectra: the functions of the same names in this module.
        pub trait OnSpectra: Sized {
            $(fn $name($($argument: $kind),*) $(-> $answer)?;)*
        }

        impl OnSpectra for f32 {
            $(fn $name($($argument: $kind),*) $(-> $answer)? {
                $work($($argument),*)
            })*
        }

        impl OnSpectra for f64 {
            $(fn $name($($argument: $kind),*) $(-> $answer)? {
                $work($($argument),*)
            })*
        }
    };
}

compiled_once! {
    fn plans(rows: usize, cols: usize) -> Plans<Self> = plans;
    fn apply(spectra: &Spectra, side: Side, kernel: &[Complex<Self>], z: &[Complex<Self>], out: &mut [Complex<Self>]) =
        apply;
    fn add_outer(
        spectra: &Spectra,
        alpha: Self,
        left: &[Complex<Self>],
        right: &[Complex<Self>],
        out: &mut [Complex<Self>],
    ) = add_outer;
    fn invert(lane: &mut Lane<Self>, a: MatRef<'_, Complex<Self>>, out: &mut [Complex<Self>]) -> f64 = invert;
    fn factor(a: MatRef<'_, Complex<Self>>) -> Option<PartialPivLu<Complex<Self>>> = super::factor;
    fn solve(factors: &PartialPivLu<Complex<Self>>, y: MatMut<'_, Complex<Self>>) = super::solve;
}

fn plans<T: FftNum>(rows: usize, cols: usize) -> Plans<T> {
    let mut real = RealFftPlanner::<T>::new();
    let mut complex = FftPlanner::<T>::new();
    Plans {
        forward: real.plan_fft_forward(cols),
        inverse: real.plan_fft_inverse(cols),
        across: (rows > 1).then(|| [complex.plan_fft_forward(rows), complex.plan_fft_inverse(rows)]),
    }
}
