//! The kernels on the host: their sources compiled as C++, run by the very operations that a GPU has, and compared with
//! the CPU's. It needs a C++ compiler, and shows everything about a kernel but its speed and the GPU's
//! own rounding.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a compiler is started on files of its own")]

mod factorizations;
mod operations;

use std::cell::Cell;
use std::ffi::{CString, c_char, c_int, c_void};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use libloading::Library;

use super::gemm::{Gemm, blas};
use super::launch::{Kernel, Kernels, Launched, Launcher, PARTIAL_SUMS};
use super::memory::{Block, Slice, SliceMut};
use super::operations::{ANSWERS, Answers, Gpu};
use super::source;
use crate::device::raw::RawInverse;
use crate::device::{Device, Inversion};
use crate::error::{Error, Result};
use crate::init;
use crate::scalar::{Dtype, Scalar};

type Emulate = unsafe extern "C" fn(*const c_char, *const u32, *mut *mut c_void) -> c_int;

/// A device in host memory that runs the kernels as a GPU would; its products are plain loops, and it has no inverses.
struct Emulated {
    flag: Cell<u32>,
    partial_sums: Vec<Cell<f64>>,
    answers: Vec<Cell<f64>>,
}

impl Emulated {
    fn new() -> Self {
        let zeros = |count| vec![Cell::new(0.0); count];
        Self { flag: Cell::new(0), partial_sums: zeros(PARTIAL_SUMS as usize), answers: zeros(ANSWERS) }
    }
}

fn compile(dtype: Dtype) -> Library {
    let case = |kernel: &Kernel| format!("    CASE({})\n", kernel.name());
    let cases: String = Kernel::ALL.iter().map(case).collect();
    let text = format!(
        "{}\n{}\n#define CASE(k) if (std::strcmp(name, #k) == 0) return launch(k, geometry, arguments);\n\
         extern \"C\" int emulate(const char *name, const unsigned *geometry, void **arguments) {{\n{cases}    return \
         2;\n}}\n",
        include_str!("host.cpp"),
        source::source()
    );
    let folder = std::env::temp_dir().join(format!("relgrad-emulation-{}-{dtype}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a scratch folder");
    let (input, output) = (folder.join("kernels.cpp"), folder.join("libkernels.so"));
    std::fs::write(&input, text).expect("the source can be written");
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let result = Command::new(&compiler)
        .args(["-std=c++17", "-O1", "-Wall", "-Wno-unused-function", "-Wno-unknown-pragmas", "-shared", "-fPIC"])
        .arg(format!("-DReal={}", source::real(dtype)))
        .arg(&input)
        .arg("-o")
        .arg(&output)
        .output()
        .unwrap_or_else(|error| panic!("these tests need a C++ compiler, and {compiler} does not start: {error}"));
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
    // SAFETY: the library was just compiled from our own sources, which have no initialisers.
    let library = unsafe { Library::new(&output) }.expect("the library loads");
    std::fs::remove_dir_all(&folder).expect("the scratch folder can go");
    library
}

/// The kernels for numbers of one type.
struct Host(Dtype);

impl Launcher for Host {
    unsafe fn launch(
        &self,
        kernel: Kernel,
        Launched { grid, block }: Launched,
        arguments: &mut [*mut c_void],
    ) -> Result<()> {
        static LIBRARIES: [OnceLock<Mutex<Library>>; 2] = [const { OnceLock::new() }; 2];
        let library = LIBRARIES[self.0 as usize].get_or_init(|| Mutex::new(compile(self.0)));
        // What a GPU has per thread is in static memory: one launch at a time. A test that failed left nothing behind.
        let library = library.lock().unwrap_or_else(PoisonError::into_inner);
        let name = CString::new(kernel.name()).expect("a name without zeros");
        let geometry = [grid.0, grid.1, grid.2, block.0, block.1, block.2];
        // SAFETY: the symbol has this type in the source above; the caller vouches for the arguments.
        let status = unsafe {
            let emulate = library.get::<Emulate>(b"emulate").expect("the symbol is there");
            emulate(name.as_ptr(), geometry.as_ptr(), arguments.as_mut_ptr())
        };
        let status = match status {
            0 => return Ok(()),
            1 => "a torn barrier",
            _ => "no such kernel",
        };
        Err(Error::Device { operation: kernel.name(), status: status.to_owned() })
    }
}

impl<T: Send + Sync> Block for Vec<T> {
    fn address(&self) -> u64 {
        address(self)
    }

    fn len(&self) -> usize {
        self.len()
    }
}

impl Answers for Emulated {
    fn flag(&self, _: &str) -> u64 {
        self.flag.as_ptr() as u64
    }

    fn partial_sums(&self) -> u64 {
        address(&self.partial_sums)
    }

    fn address(&self) -> u64 {
        address(&self.answers)
    }

    fn get(&self, i: usize) -> f64 {
        self.answers[i].get()
    }

    fn wait(&self) -> Result<()> {
        if self.flag.replace(0) == 0 { Ok(()) } else { Err(Error::NonFinite { what: "a matrix".to_owned() }) }
    }
}

impl Gpu for Emulated {
    type Buffer<T: Scalar> = Vec<T>;

    fn answers(&self) -> &impl Answers {
        self
    }

    fn kernels<T: Scalar>(&self) -> Result<Kernels<impl Launcher, T>> {
        Ok(Kernels::new(Host(T::DTYPE)))
    }

    fn buffer<T: Scalar>(&self, len: usize, _: &str) -> Result<Vec<T>> {
        Ok(vec![T::default(); len])
    }

    unsafe fn copy_from_host<T: Scalar>(&self, source: &[T], to: u64) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.copy_bytes(address(source), to, size_of_val(source)) }
    }

    unsafe fn copy_to_host<T: Scalar>(&self, from: u64, destination: &mut [T]) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.copy_bytes(from, address_mut(destination), size_of_val(destination)) }
    }

    unsafe fn copy_bytes(&self, from: u64, to: u64, bytes: usize) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) };
        Ok(())
    }

    unsafe fn gemm<T: Scalar>(&self, gemm: &Gemm, factors: (T, T), [a, b, c]: [u64; 3]) -> Result<()> {
        let (rows_b, len_c) = (if gemm.transposed_b { gemm.n } else { gemm.k }, (gemm.m * gemm.n) as usize);
        let (len_a, len_b) = ((gemm.m * gemm.k) as usize, (gemm.n * gemm.k) as usize);
        assert_eq!(gemm.ldb, rows_b.max(1), "matrices without padding");
        // SAFETY: the caller vouches for the operands.
        unsafe {
            let (a, b) = (numbers_at(a, len_a), numbers_at(b, len_b));
            blas(gemm, factors, a, b, std::slice::from_raw_parts_mut(c as *mut T, len_c));
        }
        Ok(())
    }

    unsafe fn gemm_onto<T: Scalar>(&self, _: &Gemm, _: T, _: u64, _: [u64; 3]) -> Result<bool> {
        Ok(false)
    }
}

impl<T: Scalar> RawInverse<T> for Emulated {
    type Factorization = ();

    fn raw_fits((): &(), _: usize, _: usize) -> bool {
        false
    }

    unsafe fn raw_invert_transposed(
        &self,
        _: usize,
        _: SliceMut<'_, T>,
        _: SliceMut<'_, T>,
        (): &mut (),
        _: &mut [Inversion],
    ) -> Result<()> {
        unreachable!("nothing fits")
    }

    unsafe fn raw_log_abs_det(&self, _: usize, _: Slice<'_, T>) -> Result<f64> {
        Err(Error::Device { operation: "log-determinant", status: "not emulated".to_owned() })
    }
}

impl<T: Scalar> Device<T> for Emulated {
    fn synchronize(&self) -> Result<()> {
        self.wait()
    }

    fn lanes(&self) -> usize {
        1
    }

    fn factorization(&self, _: usize, _: usize) -> Result<()> {
        Ok(())
    }
}

/// The kernels alone.
fn kernels<T: Scalar>() -> Kernels<impl Launcher, T> {
    Kernels::new(Host(T::DTYPE))
}

/// The address of host memory, which the emulation takes for a device's.
fn address<T>(numbers: &[T]) -> u64 {
    numbers.as_ptr() as u64
}

fn address_mut<T>(numbers: &mut [T]) -> u64 {
    numbers.as_mut_ptr() as u64
}

/// # Safety
/// There are `len` numbers at the address for as long as the slice is used.
unsafe fn numbers_at<'a, T>(address: u64, len: usize) -> &'a [T] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(address as *const T, len) }
}

/// Normal numbers, some of them far out.
fn numbers<T: Scalar>(seed: u64, count: usize) -> Vec<T> {
    let far = |i: usize| if i % 11 == 3 { 30.0 } else { 1.0 };
    init::normals(seed, count).into_iter().enumerate().map(|(i, x)| T::of(x * far(i))).collect()
}

/// Runs a generic test in both precisions.
macro_rules! in_both_precisions {
    ($name:ident, $body:ident) => {
        #[test]
        #[ignore = "needs a C++ compiler"]
        fn $name() {
            $body::<f32>();
            $body::<f64>();
        }
    };
}
use in_both_precisions;
