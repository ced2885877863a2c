//! Which libraries of CUDA are here. All are looked for at run time, before any call that needs them: the bindings
//! themselves would panic.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cudarc::driver::sys::{CUevent, CUresult};
use libloading::Library as Loaded;

use super::refused;
use crate::error::{Error, Result};

/// A shared library of CUDA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// The driver, part of the installed GPU driver.
    Driver,
    /// The compiler of kernels.
    Nvrtc,
    /// Matrix products.
    Cublas,
    /// Matrix products with a separate addend.
    CublasLt,
    /// Factorisations.
    Cusolver,
}

/// A library that was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Loaded under this name or path.
    At(PathBuf),
    /// Loaded, but without a function that we call: too old.
    Lacks {
        /// Where.
        path: PathBuf,
        /// The function.
        symbol: &'static str,
    },
    /// Not there.
    Missing,
}

impl Library {
    /// Every library, the driver first.
    pub const ALL: [Self; 5] = [Self::Driver, Self::Nvrtc, Self::Cublas, Self::CublasLt, Self::Cusolver];

    /// Its name in CUDA's documentation, what the loader calls it without prefix and suffix, and the newest function of
    /// it that we call.
    const fn facts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Driver => ("the CUDA driver (libcuda)", "cuda", "cuGraphInstantiateWithFlags"),
            Self::Nvrtc => ("NVRTC (libnvrtc)", "nvrtc", "nvrtcGetCUBIN"),
            Self::Cublas => ("cuBLAS (libcublas)", "cublas", "cublasGemmEx_64"),
            Self::CublasLt => ("cuBLASLt (libcublasLt)", "cublasLt", "cublasLtMatmulAlgoGetHeuristic"),
            Self::Cusolver => ("cuSOLVER (libcusolver)", "cusolver", "cusolverDnXgetrs"),
        }
    }

    /// Its name, as CUDA's documentation spells it.
    pub const fn name(self) -> &'static str {
        self.facts().0
    }

    /// How to get it, in a phrase.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Driver => "install the NVIDIA driver, 525 or newer for CUDA 12 and 580 or newer for CUDA 13",
            _ => "install the CUDA toolkit, 12 or 13, or put the folder that holds it on LD_LIBRARY_PATH",
        }
    }

    /// Looks for it, once in the life of a process, where the loader looks and in the folders of [`look_in`].
    pub fn find(self) -> &'static Found {
        static FOUND: [OnceLock<Found>; Library::ALL.len()] = [const { OnceLock::new() }; Library::ALL.len()];
        FOUND[self as usize].get_or_init(|| self.search(FOLDERS.get().map_or(&[], Vec::as_slice)))
    }

    fn search(self, folders: &[PathBuf]) -> Found {
        let names = cudarc::get_lib_name_candidates(self.facts().1);
        let everywhere = names.iter().map(PathBuf::from);
        let in_folders = folders.iter().flat_map(|folder| names.iter().map(move |name| folder.join(name)));
        everywhere.chain(in_folders).find_map(|path| self.load(&path)).unwrap_or(Found::Missing)
    }

    /// Loads it for the rest of the process: the bindings then find the very same library by its name.
    fn load(self, path: &Path) -> Option<Found> {
        // SAFETY: the initialisers of NVIDIA's libraries have no preconditions.
        let library = unsafe { Loaded::new(path) }.ok()?;
        let symbol = self.facts().2;
        // SAFETY: the symbol is only looked for; it is not called through this type.
        let known = unsafe { library.get::<unsafe extern "C" fn()>(symbol.as_bytes()) }.is_ok();
        std::mem::forget(library);
        let path = path.to_owned();
        Some(if known { Found::At(path) } else { Found::Lacks { path, symbol } })
    }
}

static FOLDERS: OnceLock<Vec<PathBuf>> = OnceLock::new();

/// Further folders to look in, after those of the system's loader. Counts when it comes before the first look.
pub fn look_in(folders: Vec<PathBuf>) {
    // A later list is not an error: the first look is over.
    let _ = FOLDERS.set(folders);
}

/// Fails unless all of `libraries` are there.
///
/// # Errors
/// [`Error::NoDevice`] names the first that is missing or too old, and says how to get it.
pub fn require(libraries: &[Library]) -> Result<()> {
    libraries.iter().try_for_each(|library| verdict(*library, library.find()))
}

fn verdict(library: Library, found: &Found) -> Result<()> {
    let reason = match found {
        Found::At(_) => return Ok(()),
        Found::Missing => format!("{} is missing; {}", library.name(), library.remedy()),
        Found::Lacks { path, symbol } => {
            let path = path.display();
            format!("{} at {path} is too old, it has no {symbol}; {}", library.name(), library.remedy())
        }
    };
    Err(Error::NoDevice { reason })
}

/// `cuEventElapsedTime`: writes the milliseconds between two events.
pub(super) type ElapsedTime = unsafe extern "C" fn(*mut f32, CUevent, CUevent) -> CUresult;

/// The driver's clock of events. The bindings of CUDA 13 call a second version of it, which drivers before 570 do not
/// have and would make them panic; this one is in every driver.
///
/// # Errors
/// [`Error::NoDevice`] without the driver, or without the function.
pub(super) fn elapsed_time() -> Result<ElapsedTime> {
    const SYMBOL: &str = "cuEventElapsedTime";
    require(&[Library::Driver])?;
    let failed = refused("looking for the driver's events");
    let path = match Library::Driver.find() {
        Found::At(path) | Found::Lacks { path, .. } => path.as_path(),
        Found::Missing => Path::new(""),
    };
    // SAFETY: the library is loaded already, so that no code of it runs now.
    let library = unsafe { Loaded::new(path) }.map_err(&failed)?;
    // SAFETY: the type is that of the function in cuda.h.
    let function = unsafe { library.get::<ElapsedTime>(SYMBOL.as_bytes()) }.map(|symbol| *symbol);
    std::mem::forget(library);
    function.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_says_what_is_missing_and_how_to_get_it() {
        let told = |library, found: &Found| verdict(library, found).unwrap_err().to_string();
        assert_eq!(
            told(Library::Driver, &Found::Missing),
            "no CUDA device: the CUDA driver (libcuda) is missing; install the NVIDIA driver, \
            525 or newer for CUDA 12 and 580 or newer for CUDA 13"
        );
        let old = Found::Lacks { path: "/old/libcublas.so.11".into(), symbol: "cublasGemmEx_64" };
        let text = told(Library::Cublas, &old);
        assert!(text.contains("/old/libcublas.so.11 is too old") && text.contains("cublasGemmEx_64"), "{text}");
        assert_eq!(verdict(Library::Nvrtc, &Found::At("libnvrtc.so".into())), Ok(()));
    }

    #[test]
    fn a_library_that_is_not_there_is_missing_and_one_without_the_function_is_too_old() {
        assert_eq!(Library::Cusolver.load(Path::new("/no/such/folder/libcusolver.so")), None);
        // Any library of the system lacks CUDA's functions.
        #[cfg(target_os = "linux")]
        assert!(matches!(Library::Cublas.load(Path::new("libc.so.6")), Some(Found::Lacks { .. })));
    }

    #[test]
    fn every_library_has_a_place_of_its_own() {
        for (i, library) in Library::ALL.into_iter().enumerate() {
            assert_eq!(library as usize, i);
        }
    }
}
