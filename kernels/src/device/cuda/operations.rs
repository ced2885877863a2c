//! [`Device`] on a GPU: shapes are checked here, and kernels and libraries are asked for the rest.

use cudarc::driver::result;

use super::blas::Operands;
use super::calls::{Calls, Panel};
use super::factorization::{self, Factorization};
use super::gemm::{Gemm, Stored};
use super::memory::{Buffer, Slice, SliceMut};
use super::stream::{ANSWERS, Lane};
use super::{Cuda, graph, refused};
use crate::device::shape::{require, require_blocks, require_length};
use crate::device::{Addend, Device, Factor, Inversion, MatrixMut, MatrixRef, Replay};
use crate::elementwise::{DensityParameters, SigmaParameters};
use crate::error::{Error, Result};
use crate::math::Math;
use crate::network::{Activation, Base};
use crate::scalar::Scalar;

impl Cuda {
    /// The kernels for numbers of type `T`, with this GPU's context current on the calling thread.
    fn calls<T: Scalar>(&self) -> Result<Calls<Lane<'_>>> {
        self.enter()?;
        Ok(Calls { launcher: Lane { queue: &self.shared.queue, module: self.module(T::DTYPE)? } })
    }

    /// Libraries work on the context that is current on the calling thread.
    fn enter(&self) -> Result<()> {
        self.shared.context.bind_to_thread().map_err(refused("entering the GPU's context"))
    }

    /// Sums per column through `ask` (first column, columns, address of the sums), added to `out`; as many columns at a
    /// time as there are answers.
    fn add_sums(&self, out: &mut [f64], ask: impl Fn(usize, usize, u64) -> Result<()>) -> Result<()> {
        let queue = &self.shared.queue;
        for (i, out) in out.chunks_mut(ANSWERS).enumerate() {
            ask(i * ANSWERS, out.len(), queue.answer_address(0))?;
            queue.wait()?;
            out.iter_mut().enumerate().for_each(|(n, out)| *out += queue.answer(n));
        }
        Ok(())
    }
}

/// One block per sample, or one for all.
fn panel<T: Scalar>(
    operation: &'static str,
    (dim, count): (usize, usize),
    a: &MatrixRef<'_, Cuda, T>,
) -> Result<Panel> {
    require_blocks(operation, dim, count, a)?;
    let stride = if a.cols() == dim * count { (dim * dim) as u64 } else { 0 };
    Ok(Panel { address: a.slice().address(), stride })
}

fn stored<T: Scalar>(factor: &Factor<'_, Cuda, T>) -> Stored {
    let Factor { matrix, transposed } = factor;
    Stored { rows: matrix.rows(), cols: matrix.cols(), transposed: *transposed }
}

impl<T: Scalar> Device<T> for Cuda {
    type Buffer = Buffer<T>;
    type Slice<'a> = Slice<'a, T>;
    type SliceMut<'a> = SliceMut<'a, T>;
    type Factorization = Factorization;

    fn allocate(&self, len: usize, what: &str) -> Result<Buffer<T>> {
        let buffer = Buffer::new(&self.shared.memory, len, what)?;
        if len > 0 {
            let stream = self.shared.queue.stream().cu_stream();
            // SAFETY: the bytes are those of the new buffer; all-zero bits are 0.0.
            unsafe { result::memset_d8_async(buffer.address(), 0, len * size_of::<T>(), stream) }
                .map_err(refused("filling new memory with zeros"))?;
        }
        Ok(buffer)
    }

    fn slice(buffer: &Buffer<T>) -> Slice<'_, T> {
        buffer.view()
    }

    fn slice_mut(buffer: &mut Buffer<T>) -> SliceMut<'_, T> {
        buffer.view_mut()
    }

    fn split<'a>(slice: Self::Slice<'a>, mid: usize) -> (Self::Slice<'a>, Self::Slice<'a>) {
        slice.split(mid)
    }

    fn split_mut<'a>(slice: Self::SliceMut<'a>, mid: usize) -> (Self::SliceMut<'a>, Self::SliceMut<'a>) {
        slice.split(mid)
    }

    fn reborrow_mut<'b>(slice: &'b mut SliceMut<'_, T>) -> SliceMut<'b, T> {
        slice.reborrow()
    }

    fn shorten<'b>(slice: &'b Slice<'_, T>) -> Slice<'b, T> {
        slice.shorten()
    }

    fn reborrow<'b>(slice: &'b SliceMut<'_, T>) -> Slice<'b, T> {
        slice.shared()
    }

    fn upload(&self, source: &[T], destination: SliceMut<'_, T>) -> Result<()> {
        require_length("upload", destination.len(), source.len())?;
        if source.is_empty() {
            return Ok(());
        }
        self.enter()?;
        let stream = self.shared.queue.stream();
        // SAFETY: both sides have the same length, and `source` is borrowed until the copy has been waited for.
        unsafe { result::memcpy_htod_async(destination.address(), source, stream.cu_stream()) }
            .map_err(refused("upload"))?;
        stream.synchronize().map_err(refused("upload"))
    }

    fn download(&self, source: Slice<'_, T>, destination: &mut [T]) -> Result<()> {
        require_length("download", destination.len(), source.len())?;
        if destination.is_empty() {
            return Ok(());
        }
        self.enter()?;
        let stream = self.shared.queue.stream();
        // SAFETY: both sides have the same length, and `destination` is borrowed until the copy has been waited for.
        unsafe { result::memcpy_dtoh_async(destination, source.address(), stream.cu_stream()) }
            .map_err(refused("download"))?;
        stream.synchronize().map_err(refused("download"))
    }

    fn copy(&self, source: MatrixRef<'_, Self, T>, destination: MatrixMut<'_, Self, T>) -> Result<()> {
        require("copy", &destination.view(), source.rows(), source.cols())?;
        let bytes = source.slice().len() * size_of::<T>();
        if bytes == 0 {
            return Ok(());
        }
        self.enter()?;
        let (from, to) = (source.slice().address(), destination.into_slice().address());
        // SAFETY: both sides have this many bytes, and do not overlap: one is borrowed exclusively.
        unsafe { result::memcpy_dtod_async(to, from, bytes, self.shared.queue.stream().cu_stream()) }
            .map_err(refused("copy"))
    }

    fn fill(&self, value: T, destination: MatrixMut<'_, Self, T>) -> Result<()> {
        let slice = destination.into_slice();
        if slice.len() == 0 {
            return Ok(());
        }
        // SAFETY: the kernel writes as many numbers as the slice has.
        unsafe { self.calls::<T>()?.fill(slice.len(), value, slice.address()) }
    }

    fn synchronize(&self) -> Result<()> {
        self.enter()?;
        self.shared.queue.wait()
    }

    /// Numbers of another type than that of the chosen arithmetic are multiplied in their own.
    fn math(&self) -> Math {
        let math = self.math.get();
        if math.dtype() == T::DTYPE { math } else { Math::of(T::DTYPE) }
    }

    fn in_full_precision<R>(&self, work: impl FnOnce() -> R) -> R {
        let math = self.math.replace(Math::of(T::DTYPE));
        let result = work();
        self.math.set(math);
        result
    }

    fn record(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<Option<Box<dyn Replay>>> {
        self.enter()?;
        graph::record(self, work)
    }

    fn require_finite(&self, what: &str, matrix: MatrixRef<'_, Self, T>) -> Result<()> {
        let slice = matrix.slice();
        let flag = self.shared.queue.flag(what);
        // SAFETY: the kernel reads as many numbers as the slice has, and may write the flag.
        unsafe { self.calls::<T>()?.flag_not_finite(slice.len(), slice.address(), flag) }
    }

    fn frobenius_norm(&self, a: MatrixRef<'_, Self, T>) -> Result<f64> {
        let queue = &self.shared.queue;
        let (slice, total) = (a.slice(), queue.answer_address(0));
        // SAFETY: the kernels read as many numbers as the slice has; partial sums and total are of the queue.
        unsafe {
            self.calls::<T>()?.sum_of_squares(slice.len(), slice.address(), queue.partial_sums(), total)?;
        }
        queue.wait()?;
        Ok(queue.answer(0).sqrt())
    }

    fn multiply(
        &self,
        alpha: T,
        a: Factor<'_, Self, T>,
        b: Factor<'_, Self, T>,
        addend: Addend<'_, Self, T>,
        c: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        let shape = (c.rows(), c.cols());
        let gemm = Gemm::new(stored(&a), stored(&b), shape)?;
        if let Addend::Matrix(addend) = &addend {
            require("product's addend", addend, shape.0, shape.1)?;
        }
        if gemm.is_empty() {
            return Ok(());
        }
        self.enter()?;
        let (math, blas) = (Device::<T>::math(self), &self.shared.blas);
        let mut c = c;
        let (a, b) = (a.matrix.slice().address(), b.matrix.slice().address());
        let operands = Operands { a, b, c: c.view().slice().address() };
        let beta = match addend {
            Addend::Zero => T::of(0.0),
            Addend::Scaled(beta) => beta,
            Addend::Matrix(addend) => {
                // SAFETY: `Gemm::new` has checked the factors against c, and `require` the addend; c is exclusive.
                if unsafe { blas.multiply_onto(math, &gemm, alpha, addend.slice().address(), operands)? } {
                    return Ok(());
                }
                self.copy(addend, c.reborrow())?;
                T::of(1.0)
            }
        };
        // SAFETY: `Gemm::new` has checked the factors against c, which is borrowed exclusively.
        unsafe { blas.multiply(math, &gemm, (alpha, beta), operands) }
    }

    fn add_bias(&self, bias: MatrixRef<'_, Self, T>, y: MatrixMut<'_, Self, T>) -> Result<()> {
        require("add bias", &bias, y.rows(), 1)?;
        let (rows, cols) = (y.rows(), y.cols());
        // SAFETY: y is rows×cols and the bias has as many rows.
        unsafe { self.calls::<T>()?.add_bias(rows, cols, bias.slice().address(), y.into_slice().address()) }
    }

    fn bias_activate(
        &self,
        activation: Activation,
        bias: Option<MatrixRef<'_, Self, T>>,
        y: MatrixMut<'_, Self, T>,
        z: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        let (rows, cols) = (y.rows(), y.cols());
        require("activation", &z.view(), rows, cols)?;
        if let Some(bias) = &bias {
            require("activation's bias", bias, rows, 1)?;
        }
        let sigma = SigmaParameters::<T>::new(activation)?;
        let calls = self.calls::<T>()?;
        let (y, z) = (y.into_slice().address(), z.into_slice().address());
        // SAFETY: y and z are rows×cols and the bias has as many rows.
        unsafe {
            match bias {
                Some(bias) => calls.bias_activate((rows, cols), sigma, bias.slice().address(), y, z),
                None => calls.activate(rows * cols, sigma, y, z),
            }
        }
    }

    fn backward_error(
        &self,
        activation: Activation,
        v: MatrixRef<'_, Self, T>,
        y: MatrixRef<'_, Self, T>,
        delta: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        require("backward error", &y, v.rows(), v.cols())?;
        require("backward error", &delta.view(), v.rows(), v.cols())?;
        let sigma = SigmaParameters::<T>::new(activation)?;
        let delta = delta.into_slice();
        // SAFETY: all three have the length of delta.
        unsafe {
            let (v, y) = (v.slice().address(), y.slice().address());
            self.calls::<T>()?.backward_error(delta.len(), sigma, v, y, delta.address())
        }
    }

    fn output_error(
        &self,
        base: Base,
        activation: Option<Activation>,
        y: MatrixRef<'_, Self, T>,
        delta: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        require("output error", &delta.view(), y.rows(), y.cols())?;
        let density = DensityParameters::<T>::new(base)?;
        let sigma = activation.map(SigmaParameters::<T>::new).transpose()?;
        let calls = self.calls::<T>()?;
        let (y, delta) = (y.slice().address(), delta.into_slice());
        // SAFETY: both have the length of delta.
        unsafe {
            match sigma {
                Some(sigma) => calls.output_error(delta.len(), sigma, density, y, delta.address()),
                None => calls.output_score(delta.len(), density, y, delta.address()),
            }
        }
    }

    fn slope_and_ratio(
        &self,
        activation: Activation,
        y: MatrixRef<'_, Self, T>,
        slope: MatrixMut<'_, Self, T>,
        ratio: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        require("slope", &slope.view(), y.rows(), y.cols())?;
        require("slope", &ratio.view(), y.rows(), y.cols())?;
        let sigma = SigmaParameters::<T>::new(activation)?;
        let (slope, ratio) = (slope.into_slice(), ratio.into_slice());
        // SAFETY: all three have the length of slope.
        unsafe {
            let y = y.slice().address();
            self.calls::<T>()?.slope_and_ratio(slope.len(), sigma, y, slope.address(), ratio.address())
        }
    }

    fn log_slope_sums(&self, activation: Activation, y: MatrixRef<'_, Self, T>, out: &mut [f64]) -> Result<()> {
        require_length("log-slope sums", out.len(), y.cols())?;
        let sigma = SigmaParameters::<T>::new(activation)?;
        let calls = self.calls::<T>()?;
        self.add_sums(out, |first, cols, sums| {
            let y = y.columns(first, cols);
            // SAFETY: y is rows×cols; there are at least as many sums as columns.
            unsafe { calls.log_slope_sums((y.rows(), cols), sigma, y.slice().address(), sums) }
        })
    }

    fn log_density_sums(&self, base: Base, z: MatrixRef<'_, Self, T>, out: &mut [f64]) -> Result<()> {
        require_length("log-density sums", out.len(), z.cols())?;
        let density = DensityParameters::<T>::new(base)?;
        let calls = self.calls::<T>()?;
        self.add_sums(out, |first, cols, sums| {
            let z = z.columns(first, cols);
            // SAFETY: z is rows×cols; there are at least as many sums as columns.
            unsafe { calls.log_density_sums((z.rows(), cols), density, z.slice().address(), sums) }
        })
    }

    fn lanes(&self) -> usize {
        Self::LANES
    }

    fn factorization(&self, dim: usize, count: usize) -> Result<Factorization> {
        self.enter()?;
        Factorization::new::<T>(self, dim, count)
    }

    fn invert_transposed(
        &self,
        a: MatrixMut<'_, Self, T>,
        out: MatrixMut<'_, Self, T>,
        work: &mut Factorization,
        report: &mut [Inversion],
    ) -> Result<()> {
        let dim = a.rows();
        require("inverse", &out.view(), dim, a.cols())?;
        require_length("inverse", a.cols(), dim * report.len())?;
        if !work.fits(dim, report.len()) {
            let expected = format!("work memory for {} blocks of {dim}×{dim}", report.len());
            return Err(Error::shape("inverse", expected, "another size"));
        }
        if dim == 0 || report.is_empty() {
            return Ok(());
        }
        let calls = self.calls::<T>()?;
        work.invert_transposed(self, &calls, &a.into_slice(), &out.into_slice(), report)
    }

    fn log_abs_det(&self, a: MatrixRef<'_, Self, T>) -> Result<f64> {
        let dim = a.rows();
        require("log-determinant", &a, dim, dim)?;
        if dim == 0 {
            return Ok(0.0);
        }
        let calls = self.calls::<T>()?;
        let wide = Buffer::<f64>::new(&self.shared.memory, dim * dim, "LU factors in f64")?;
        // SAFETY: both have dim×dim numbers.
        unsafe {
            calls.widen(dim * dim, a.slice().address(), wide.address())?;
            factorization::log_abs_det(self, &calls, dim, wide.address())
        }
    }

    fn scale_rows(
        &self,
        scale: MatrixRef<'_, Self, T>,
        a: MatrixRef<'_, Self, T>,
        out: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        let (dim, count) = (scale.rows(), scale.cols());
        require("row scaling", &out.view(), dim, dim * count)?;
        let a = panel("row scaling", (dim, count), &a)?;
        // SAFETY: `out` is `count` blocks, `a` one or as many, and `scale` has a column for each.
        unsafe {
            let (scale, out) = (scale.slice().address(), out.into_slice().address());
            self.calls::<T>()?.scale_rows((dim, count), scale, a, out)
        }
    }

    fn scale_rows_in_place(&self, scale: MatrixRef<'_, Self, T>, a: MatrixMut<'_, Self, T>) -> Result<()> {
        let (dim, count) = (scale.rows(), scale.cols());
        require("row scaling", &a.view(), dim, dim * count)?;
        let out = a.into_slice().address();
        let a = Panel { address: out, stride: (dim * dim) as u64 };
        // SAFETY: `a` is `count` blocks, and `scale` has a column for each; each entry is read before it is written.
        unsafe { self.calls::<T>()?.scale_rows((dim, count), scale.slice().address(), a, out) }
    }

    fn curvature_adjoint(
        &self,
        slope: MatrixRef<'_, Self, T>,
        weight: MatrixRef<'_, Self, T>,
        a: MatrixRef<'_, Self, T>,
        b: MatrixRef<'_, Self, T>,
        out: MatrixMut<'_, Self, T>,
    ) -> Result<()> {
        let (dim, count) = (out.rows(), out.cols());
        require("curvature adjoint", &slope, dim, count)?;
        require("curvature adjoint", &weight, dim, count)?;
        require("curvature adjoint", &a, dim, dim * count)?;
        let b = panel("curvature adjoint", (dim, count), &b)?;
        let factors = (slope.slice().address(), weight.slice().address());
        // SAFETY: slope, weight and out are dim×count, `a` is `count` blocks, `b` one or as many.
        unsafe {
            let (a, out) = (a.slice().address(), out.into_slice().address());
            self.calls::<T>()?.curvature_adjoint((dim, count), factors, a, b, out)
        }
    }

    fn add_blocks(&self, alpha: T, a: MatrixRef<'_, Self, T>, out: MatrixMut<'_, Self, T>) -> Result<()> {
        let dim = out.rows();
        require("block sum", &out.view(), dim, dim)?;
        if dim == 0 {
            return require("block sum", &a, 0, a.cols());
        }
        let count = a.cols() / dim;
        require("block sum", &a, dim, count * dim)?;
        let out = out.into_slice();
        // SAFETY: `a` is `count` blocks of the length of out.
        unsafe { self.calls::<T>()?.add_blocks((out.len(), count), alpha, a.slice().address(), out.address()) }
    }
}
