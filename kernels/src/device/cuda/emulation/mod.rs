//! The kernels on the host: their sources compiled as C++, run through the very calls that a GPU gets, and compared
//! with the CPU's operations. It needs a C++ compiler, and shows everything about a kernel but its speed and the GPU's
//! own rounding.

mod factorizations;
mod operations;

use std::ffi::{CString, c_char, c_int, c_void};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use libloading::Library;

use super::calls::Calls;
use super::launch::{Geometry, Kernel, Launcher};
use super::source;
use crate::device::{Cpu, Matrix};
use crate::error::{Error, Result};
use crate::init;
use crate::scalar::{Dtype, Scalar};

type Emulate = unsafe extern "C" fn(*const c_char, *const u32, *mut *mut c_void) -> c_int;

/// The compiled kernels in one precision. They keep what a GPU has per thread in static memory: one launch at a time.
struct Emulation {
    library: Mutex<Library>,
}

/// The emulation, held by one test.
struct Emulated(MutexGuard<'static, Library>);

impl Emulation {
    fn of(dtype: Dtype) -> Emulated {
        static LIBRARIES: [OnceLock<Emulation>; 2] = [const { OnceLock::new() }; 2];
        let emulation = LIBRARIES[dtype as usize].get_or_init(|| Self { library: Mutex::new(compile(dtype)) });
        // A test that failed left nothing behind that the next one could stumble over.
        Emulated(emulation.library.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn compile(dtype: Dtype) -> Library {
    let cases: String = Kernel::ALL.iter().map(|kernel| format!("    CASE({})\n", kernel.name())).collect();
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

impl Launcher for Emulated {
    unsafe fn launch(
        &self,
        kernel: Kernel,
        Geometry { grid, block }: Geometry,
        arguments: &mut [*mut c_void],
    ) -> Result<()> {
        let name = CString::new(kernel.name()).expect("a name without zeros");
        let geometry = [grid.0, grid.1, grid.2, block.0, block.1, block.2];
        // SAFETY: the symbol has this type in the source above; the caller vouches for the arguments.
        let status = unsafe {
            let emulate = self.0.get::<Emulate>(b"emulate").expect("the symbol is there");
            emulate(name.as_ptr(), geometry.as_ptr(), arguments.as_mut_ptr())
        };
        match status {
            0 => Ok(()),
            1 => Err(Error::Device { operation: kernel.name(), status: "a torn barrier".to_owned() }),
            _ => Err(Error::Device { operation: kernel.name(), status: "no such kernel".to_owned() }),
        }
    }
}

fn calls<T: Scalar>() -> Calls<Emulated> {
    Calls { launcher: Emulation::of(T::DTYPE) }
}

/// The address of host memory, which the emulation takes for a device's.
fn address<T>(numbers: &[T]) -> u64 {
    numbers.as_ptr() as u64
}

fn address_mut<T>(numbers: &mut [T]) -> u64 {
    numbers.as_mut_ptr() as u64
}

/// Normal numbers, some of them far out.
fn numbers<T: Scalar>(seed: u64, count: usize) -> Vec<T> {
    let far = |i: usize| if i % 11 == 3 { 30.0 } else { 1.0 };
    init::normals(seed, count).into_iter().enumerate().map(|(i, x)| T::of(x * far(i))).collect()
}

fn matrix<T: Scalar>(data: &[T], rows: usize, cols: usize) -> Matrix<Cpu, T> {
    Matrix::from_column_major(&Cpu::new(1), data, rows, cols, "test").expect("the sizes fit")
}

fn host<T: Scalar>(matrix: &Matrix<Cpu, T>) -> Vec<T> {
    matrix.to_column_major(&Cpu::new(1)).expect("a copy")
}

/// Every number within `ulps` units of the larger of 1 and what is expected: the CPU has its own exponential.
fn assert_close<T: Scalar>(what: &str, ours: &[T], expected: &[T], ulps: f64) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    for (i, (ours, expected)) in ours.iter().zip(expected).enumerate() {
        let (ours, expected) = (ours.widen(), expected.widen());
        let bound = ulps * T::EPS * expected.abs().max(1.0);
        assert!((ours - expected).abs() <= bound, "{what}, {}, number {i}: {ours} is not {expected}", T::DTYPE);
    }
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

/// The CPU's device, for whose operations the kernels stand.
fn cpu() -> Cpu {
    Cpu::new(1)
}

#[test]
fn every_kernel_of_the_list_is_in_the_sources_and_the_other_way_round() {
    let text = source::source();
    let defined: Vec<&str> = text
        .match_indices("__global__ void ")
        .map(|(at, found)| text[at + found.len()..].trim_start_matches("__launch_bounds__(SHORT_ROWS)").trim_start())
        .map(|text| text.split('(').next().expect("a name"))
        .collect();
    let listed: Vec<&str> = Kernel::ALL.iter().map(|kernel| kernel.name()).collect();
    assert_eq!(defined.len(), listed.len(), "{defined:?}");
    assert!(listed.iter().all(|name| defined.contains(name)), "{defined:?}");
}
