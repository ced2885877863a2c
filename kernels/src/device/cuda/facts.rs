//! What is known of the GPUs and the libraries of this machine.

use cudarc::driver::{result, sys};

use super::probe::{self, Library};
use super::refused;
use crate::error::{Error, Result};

/// What a GPU is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// Its identity, as NVIDIA's tools write it: `GPU-` and 32 hexadecimal digits in groups.
    pub uuid: String,
    /// Compute capability, for instance (9, 0).
    pub compute_capability: (i32, i32),
    /// Bytes of its memory.
    pub memory_bytes: u64,
}

/// How many GPUs the driver knows.
///
/// # Errors
/// [`Error::NoDevice`] without the driver, or when it cannot start or knows none.
pub fn count() -> Result<usize> {
    probe::require(&[Library::Driver])?;
    let no_device = |error: cudarc::driver::DriverError| Error::NoDevice {
        reason: format!("the driver does not start ({error}); check it with nvidia-smi"),
    };
    result::init().map_err(no_device)?;
    match result::device::get_count().map_err(no_device)? {
        count @ 1.. => Ok(count as usize),
        _ => Err(Error::NoDevice { reason: "the driver knows no GPU; check it with nvidia-smi".to_owned() }),
    }
}

/// Every GPU that the driver knows; starts none.
///
/// # Errors
/// As [`count`].
pub fn devices() -> Result<Vec<Facts>> {
    let failed = refused("finding a GPU");
    (0..count()? as i32).map(|ordinal| of(result::device::get(ordinal).map_err(&failed)?)).collect()
}

pub(super) fn of(device: sys::CUdevice) -> Result<Facts> {
    use sys::CUdevice_attribute as Attribute;
    let failed = refused("reading the properties of a GPU");
    // SAFETY: `device` came from the driver; the call only writes its result.
    let attribute = |attribute| unsafe { result::device::get_attribute(device, attribute) };
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR).map_err(&failed)?;
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR).map_err(&failed)?;
    // SAFETY: as above.
    let memory_bytes = unsafe { result::device::total_mem(device) }.map_err(&failed)? as u64;
    Ok(Facts {
        name: result::device::get_name(device).map_err(&failed)?,
        uuid: uuid(&result::device::get_uuid(device).map_err(&failed)?.bytes.map(|byte| byte as u8)),
        compute_capability: (major, minor),
        memory_bytes,
    })
}

/// `GPU-8-4-4-4-12` hexadecimal digits.
fn uuid(bytes: &[u8; 16]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let (a, b, c) = (&digits[..8], &digits[8..12], &digits[12..16]);
    format!("GPU-{a}-{b}-{c}-{}-{}", &digits[16..20], &digits[20..])
}

/// The version of a library that is there, as it tells itself.
pub fn version(library: Library) -> Option<String> {
    use cudarc::{cublas, cublaslt, cusolver, driver, nvrtc};
    probe::require(&[library]).ok()?;
    let thousands = |version: i32, step: i32| format!("{}.{}", version / 1000, version % 1000 / step);
    let (mut first, mut second) = (0, 0);
    // SAFETY: the library is there; each call only writes numbers to the host memory that it is given.
    unsafe {
        let done = match library {
            Library::Driver => driver::sys::cuDriverGetVersion(&raw mut first).result().is_ok(),
            Library::Nvrtc => nvrtc::sys::nvrtcVersion(&raw mut first, &raw mut second).result().is_ok(),
            Library::Cublas => {
                use cublas::sys::{cublasGetProperty, libraryPropertyType_t as Property};
                cublasGetProperty(Property::MAJOR_VERSION, &raw mut first).result().is_ok()
                    && cublasGetProperty(Property::MINOR_VERSION, &raw mut second).result().is_ok()
            }
            Library::CublasLt => return Some(dotted(cublaslt::sys::cublasLtGetVersion())),
            Library::Cusolver => cusolver::sys::cusolverGetVersion(&raw mut first).result().is_ok(),
        };
        done.then(|| match library {
            Library::Driver => format!("for CUDA {}", thousands(first, 10)),
            Library::Cusolver => thousands(first, 100),
            _ => format!("{first}.{second}"),
        })
    }
}

/// 130100 as 13.1.
fn dotted(version: usize) -> String {
    format!("{}.{}", version / 10_000, version % 10_000 / 100)
}

#[cfg(test)]
mod tests {
    use super::super::{Cuda, Found};
    use super::*;
    use crate::math::Math;

    #[test]
    fn versions_and_identities_are_written_as_nvidia_writes_them() {
        assert_eq!(dotted(130_100), "13.1");
        let bytes = [0xa0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff];
        assert_eq!(uuid(&bytes), "GPU-a0010203-0405-0607-0809-0a0b0c0d0eff");
    }

    /// The library is looked for before anything that would panic without it.
    #[test]
    fn without_a_driver_the_error_says_so() {
        if matches!(Library::Driver.find(), Found::At(_)) {
            return;
        }
        for error in [Cuda::new(0, Math::F32).err(), count().err(), devices().err()] {
            let text = error.expect("no driver, no device").to_string();
            assert!(text.starts_with("no CUDA device: the CUDA driver (libcuda) is missing; install"), "{text}");
        }
    }
}
