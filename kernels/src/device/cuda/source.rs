//! The CUDA C++ sources, and their compilation by NVRTC.

use std::ffi::{CStr, CString, c_char};

use cudarc::nvrtc::{result, sys};

use super::probe::{self, Library};
use super::refused;
use crate::error::{Error, Result};
use crate::scalar::Dtype;

/// The sources in the order in which they build on each other. Formulas stand beside the Rust that they mirror.
const SOURCES: [&str; 8] = [
    include_str!("kernels/prelude.cu"),
    include_str!("../../elementwise/activation.cu"),
    include_str!("../../elementwise/density.cu"),
    include_str!("kernels/elementwise.cu"),
    include_str!("kernels/reductions.cu"),
    include_str!("kernels/panels.cu"),
    include_str!("kernels/factor.cu"),
    include_str!("kernels/lu.cu"),
];

/// All kernels as one translation unit; `Real` is left to the compiler's command line.
pub(super) fn source() -> String {
    SOURCES.join("\n")
}

/// What `Real` is in this precision.
pub(super) const fn real(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "float",
        Dtype::F64 => "double",
    }
}

/// Compiles every kernel to machine code of `architecture`, for instance `sm_90`. Needs the library NVRTC, and no GPU.
///
/// # Errors
/// [`Error::NoDevice`] without NVRTC; [`Error::Device`] with the compiler's log when it refuses.
pub fn compile(dtype: Dtype, architecture: &str) -> Result<Vec<u8>> {
    probe::require(&[Library::Nvrtc])?;
    let options = [
        format!("--gpu-architecture={architecture}"),
        format!("--define-macro=Real={}", real(dtype)),
        "--std=c++17".to_owned(),
        // IEEE arithmetic, as on the CPU: these are NVRTC's defaults, said aloud.
        "--ftz=false".to_owned(),
        "--prec-div=true".to_owned(),
        "--prec-sqrt=true".to_owned(),
    ];
    let program = Program::new(&source())?;
    program.compile(&options)
}

/// A program of NVRTC, destroyed when dropped.
struct Program {
    handle: sys::nvrtcProgram,
}

impl Program {
    fn new(source: &str) -> Result<Self> {
        let text = CString::new(source).map_err(refused("compiling the kernels"))?;
        let handle = result::create_program(&text, Some(c"relgrad.cu")).map_err(refused("compiling the kernels"))?;
        Ok(Self { handle })
    }

    fn compile(&self, options: &[String]) -> Result<Vec<u8>> {
        let failed = refused("compiling the kernels");
        // SAFETY: the handle is of a program that is destroyed in `drop` only.
        if let Err(error) = unsafe { result::compile_program(self.handle, options) } {
            return Err(Error::Device {
                operation: "compiling the kernels",
                status: format!("{error} with {options:?}: {}", self.log()),
            });
        }
        let mut size = 0;
        // SAFETY: the program was compiled; the call writes the number of bytes to `size`.
        unsafe { sys::nvrtcGetCUBINSize(self.handle, &raw mut size) }.result().map_err(&failed)?;
        let mut cubin = vec![0_u8; size];
        // SAFETY: the buffer has the size that the library asked for.
        unsafe { sys::nvrtcGetCUBIN(self.handle, cubin.as_mut_ptr().cast()) }.result().map_err(&failed)?;
        Ok(cubin)
    }

    /// What the compiler said.
    fn log(&self) -> String {
        // SAFETY: the handle is of a program that is destroyed in `drop` only.
        let Ok(log) = (unsafe { result::get_program_log(self.handle) }) else { return String::new() };
        let bytes: Vec<u8> = log.into_iter().map(|byte: c_char| byte as u8).collect();
        CStr::from_bytes_until_nul(&bytes).map_or_else(|_| String::new(), |log| log.to_string_lossy().trim().to_owned())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: created in `new` and destroyed once, here. A failure leaves a little host memory to the process's
        // end.
        let _ = unsafe { result::destroy_program(self.handle) };
    }
}

#[cfg(test)]
mod tests {
    use super::super::launch::Kernel;
    use super::*;

    /// The gate of the kernels: no GPU is needed, only the compiler. `RELGRAD_NVRTC_ARCHITECTURES` lists the
    /// architectures, since each release of the compiler knows its own.
    #[test]
    #[ignore = "needs NVRTC, which .ci/run fetches"]
    #[allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "CI says which architectures, and is told")]
    fn every_kernel_compiles_for_every_architecture_by_nvrtc() {
        let listed = std::env::var("RELGRAD_NVRTC_ARCHITECTURES");
        let architectures = listed.as_deref().unwrap_or("sm_80,sm_90");
        for architecture in architectures.split(',') {
            for dtype in Dtype::ALL {
                let code = compile(dtype, architecture).unwrap_or_else(|error| panic!("{architecture}: {error}"));
                assert!(code.starts_with(b"\x7fELF"), "{architecture} {dtype}");
                for kernel in Kernel::ALL {
                    let name = kernel.name().as_bytes();
                    assert!(code.windows(name.len()).any(|bytes| bytes == name), "{architecture}: {kernel:?}");
                }
                println!("{architecture} {dtype}: {} kernels, {} bytes", Kernel::ALL.len(), code.len());
            }
        }
    }

    #[test]
    #[ignore = "needs NVRTC, which .ci/run fetches"]
    fn what_nvrtc_refuses_is_told_with_its_log() {
        let error = compile(Dtype::F32, "sm_1").unwrap_err().to_string();
        assert!(error.contains("compiling the kernels") && error.contains("sm_1"), "{error}");
    }
}
