//! The work of the CPU's operations, compiled once for each precision.
//!
//! A generic function is compiled anew in every crate that calls it. The methods of this trait are functions of f32 and
//! of f64, not generic ones: the program, and whoever uses the library, call the code of this crate.

use dyn_stack::{MemBuffer, MemStack};
use faer::linalg::lu::partial_pivoting::factor::{lu_in_place, lu_in_place_scratch};
use faer::linalg::lu::partial_pivoting::solve::{solve_in_place_scratch, solve_in_place_with_conj};
use faer::linalg::matmul::matmul;
use faer::perm::PermRef;
use faer::{Accum, Conj, MatMut, MatRef, Par};

use super::factor::{self, Lane, Triangle};
use super::product::{self, Onto};
use super::triangular::{self, HalfOuter, How, Triangular};
use super::{blocks, inner, lines, norm};
use crate::device::{Inversion, Lines, Term};
use crate::elementwise;
use crate::error::Result;
use crate::math::Math;
use crate::network::{Activation, Base};
use crate::scalar::Scalar;

macro_rules! compiled_once {
    ($(fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $answer:ty)? = $work:path;)*) => {
        /// What a precision does on the CPU: the functions of the same names in this crate.
        pub trait OnHost: Sized {
            $(fn $name($($argument: $kind),*) $(-> $answer)?;)*
        }

        impl OnHost for f32 {
            $(fn $name($($argument: $kind),*) $(-> $answer)? {
                $work($($argument),*)
            })*
        }

        impl OnHost for f64 {
            $(fn $name($($argument: $kind),*) $(-> $answer)? {
                $work($($argument),*)
            })*
        }
    };
}

compiled_once! {
    fn multiply(
        math: Math,
        threads: usize,
        alpha: Self,
        a: MatRef<'_, Self>,
        b: MatRef<'_, Self>,
        onto: Onto<'_, Self>,
        c: MatMut<'_, Self>,
    ) = product::multiply_in;
    fn multiply_alone(c: MatMut<'_, Self>, a: MatRef<'_, Self>, b: MatRef<'_, Self>, alpha: Self) = multiply_alone;
    fn multiply_triangular(how: How, t: Triangular<'_, Self>, z: MatRef<'_, Self>, out: MatMut<'_, Self>) =
        triangular::multiply;
    fn half_outer(
        how: How,
        dim: usize,
        pass: HalfOuter<'_, Self>,
        out: &mut [Self],
        diagonal: Option<&mut [Self]>,
    ) = triangular::outer;
    fn solve_triangular(kind: Triangle, t: MatRef<'_, Self>, b: MatMut<'_, Self>) = factor::solve;
    fn lu(a: MatMut<'_, Self>, forward: &mut [usize], backward: &mut [usize]) = lu;
    fn solve_lu(lu: MatRef<'_, Self>, order: PermRef<'_, usize>, y: MatMut<'_, Self>) = solve_lu;
    fn invert_each(
        threads: usize,
        dim: usize,
        a: &mut [Self],
        out: &mut [Self],
        lanes: &mut [Lane],
        report: &mut [Inversion],
    ) = blocks::invert_each;
    fn log_abs_det(a: MatRef<'_, Self>, threads: usize) -> f64 = factor::log_abs_det;
    fn scale_rows(threads: usize, dim: usize, scale: &[Self], a: Option<&[Self]>, out: &mut [Self]) =
        blocks::scale_rows;
    fn curvature_adjoint(threads: usize, dim: usize, operands: [&[Self]; 4], out: &mut [Self]) =
        blocks::curvature_adjoint;
    fn transpose_blocks(threads: usize, dim: usize, a: &[Self], out: &mut [Self]) = blocks::transpose_blocks;
    fn add_blocks(threads: usize, alpha: Self, a: &[Self], out: &mut [Self]) = blocks::add_blocks;
    fn inner_products(threads: usize, rows: usize, factors: [&[Self]; 2], room: &mut [f64], out: &mut [f64]) =
        inner::products;
    fn scale_lines(threads: usize, lines: Lines, rows: usize, by: &[Self], a: &mut [Self]) = lines::scale;
    fn column_norms(threads: usize, rows: usize, a: &[Self], out: &mut [f64]) = lines::norms;
    fn frobenius(threads: usize, a: &[Self]) -> f64 = norm::frobenius;
    fn all_finite(numbers: &[Self]) -> bool = norm::all_finite;
    fn add_bias(bias: &[Self], y: &mut [Self]) = elementwise::add_bias;
    fn bias_activate(activation: Activation, bias: Option<&[Self]>, y: &mut [Self], z: &mut [Self]) -> Result<()> =
        elementwise::bias_activate;
    fn backward_error(activation: Activation, v: &[Self], y: &[Self], delta: &mut [Self]) -> Result<()> =
        elementwise::backward_error;
    fn output_error(activation: Activation, base: Base, y: &[Self], delta: &mut [Self]) -> Result<()> =
        elementwise::output_error;
    fn slope_and_ratio(activation: Activation, y: &[Self], slope: &mut [Self], ratio: &mut [Self]) -> Result<()> =
        elementwise::slope_and_ratio;
    fn base_score(base: Base, z: &[Self], psi: &mut [Self]) -> Result<()> = elementwise::base_score;
    fn add_sums(term: Term, x: &[Self], dim: usize, sums: &mut [f64]) -> Result<()> = elementwise::add_sums;
    fn scale_and_add(scale: &[Self], addend: Option<&[Self]>, out: &mut [Self]) = elementwise::scale_and_add;
    fn blend(term: (Self, &[Self]), beta: Self, out: &mut [Self]) = elementwise::blend;
    fn standardize(s: &mut [Self], location: &[Self], log_scale: &[Self]) = elementwise::standardize;
    fn conditional_scores(log_scale: &[Self], psi: &mut [Self], rho: &mut [Self]) = elementwise::conditional_scores;
}

/// c ← α a b by faer, on the calling thread.
fn multiply_alone<T: Scalar>(c: MatMut<'_, T>, a: MatRef<'_, T>, b: MatRef<'_, T>, alpha: T) {
    matmul(c, Accum::Replace, a, b, alpha, Par::Seq);
}

/// a ← its LU factors by faer, on its global threads.
fn lu<T: Scalar>(a: MatMut<'_, T>, forward: &mut [usize], backward: &mut [usize]) {
    let (rows, cols, par) = (a.nrows(), a.ncols(), faer::get_global_parallelism());
    let mut scratch = MemBuffer::new(lu_in_place_scratch::<usize, T>(rows, cols, par, Default::default()));
    lu_in_place(a, forward, backward, par, MemStack::new(&mut scratch), Default::default());
}

/// y ← A⁻¹ y for the factors of [`lu`].
fn solve_lu<T: Scalar>(lu: MatRef<'_, T>, order: PermRef<'_, usize>, y: MatMut<'_, T>) {
    let mut scratch = MemBuffer::new(solve_in_place_scratch::<usize, T>(y.nrows(), y.ncols(), Par::Seq));
    solve_in_place_with_conj(lu, lu, order, Conj::No, y, Par::Seq, MemStack::new(&mut scratch));
}
