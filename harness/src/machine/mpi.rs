//! MPI by its standard ABI (MPI 5, `libmpi_abi`), loaded at run time: one build for every MPI that has it.
//!
//! Every unsafe call of MPI stands here. Handles and constants are those of the standard's `mpi_abi.h`.

use std::ffi::{c_char, c_int, c_void};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::{null_mut, without_provenance, without_provenance_mut};
use std::sync::OnceLock;
use std::time::Duration;

use libloading::Library;
use relgrad_kernels::ranks::{Parcel, Traffic, Transport, require_room};
use relgrad_kernels::{Dtype, Error, Result, Scalar};
use relgrad_reports::record::TransportKind;

use super::linux;
use crate::error::code;

/// How to get it, in a phrase.
const REMEDY: &str = "pip install mpich (5 or newer) and put its bin folder on PATH, or install MPICH 5 or an Open MPI \
    with the standard ABI";
/// The name of the library for the loader; the second is what the wheel of MPICH has.
const NAMES: [&str; 3] = if cfg!(target_os = "macos") {
    ["libmpi_abi.1.dylib", "libmpi_abi.dylib", "libmpi_abi.0.dylib"]
} else {
    ["libmpi_abi.so.1", "libmpi_abi.so", "libmpi_abi.so.0"]
};

/// A handle: a small number in the guise of a pointer.
type Handle = *mut c_void;

const COMM_WORLD: Handle = without_provenance_mut(0x101);
const ERRORS_RETURN: Handle = without_provenance_mut(0x143);
const FLOAT: Handle = without_provenance_mut(0x210);
const DOUBLE: Handle = without_provenance_mut(0x214);
const SUM: Handle = without_provenance_mut(0x21);
const IN_PLACE: *const c_void = without_provenance(1);
/// MPI is called from the thread that began it.
const THREAD_FUNNELED: c_int = 1024;
const SUCCESS: c_int = 0;
const MOST_VERSION: usize = 8192;
const MOST_ERROR: usize = 512;

/// The functions, under their names in the standard.
macro_rules! functions {
    ($($field:ident: $symbol:literal = fn($($argument:ty),*);)*) => {
        /// What is called of the library.
        struct Functions {
            $($field: unsafe extern "C" fn($($argument),*) -> c_int,)*
        }

        impl Functions {
            /// Looks all of them up; the name of the first that is not there.
            fn of(library: &Library) -> Result<Self, &'static str> {
                Ok(Self {
                    $($field: {
                        type Function = unsafe extern "C" fn($($argument),*) -> c_int;
                        // SAFETY: the type is that of the function of this name in the standard's mpi_abi.h.
                        let symbol = unsafe { library.get::<Function>($symbol.as_bytes()) };
                        *symbol.map_err(|_| $symbol)?
                    },)*
                })
            }
        }
    };
}

functions! {
    abi_version: "MPI_Abi_get_version" = fn(*mut c_int, *mut c_int);
    library_version: "MPI_Get_library_version" = fn(*mut c_char, *mut c_int);
    init_thread: "MPI_Init_thread" = fn(*mut c_int, *mut *mut *mut c_char, c_int, *mut c_int);
    finalize: "MPI_Finalize" = fn();
    abort: "MPI_Abort" = fn(Handle, c_int);
    comm_rank: "MPI_Comm_rank" = fn(Handle, *mut c_int);
    comm_size: "MPI_Comm_size" = fn(Handle, *mut c_int);
    set_error_handler: "MPI_Comm_set_errhandler" = fn(Handle, Handle);
    error_string: "MPI_Error_string" = fn(c_int, *mut c_char, *mut c_int);
    barrier: "MPI_Barrier" = fn(Handle);
    allgatherv: "MPI_Allgatherv" = fn(
        *const c_void, c_int, Handle, *mut c_void, *const c_int, *const c_int, Handle, Handle
    );
    reduce_scatter: "MPI_Reduce_scatter" = fn(*const c_void, *mut c_void, *const c_int, Handle, Handle, Handle);
    allreduce: "MPI_Allreduce" = fn(*const c_void, *mut c_void, c_int, Handle, Handle, Handle);
}

/// The library where it was found.
struct Loaded {
    path: PathBuf,
    functions: Functions,
}

/// The library, looked for once in the life of a process: next to `mpiexec`, then where the loader looks.
fn loaded() -> Result<&'static Loaded, String> {
    static LOADED: OnceLock<Result<Loaded, String>> = OnceLock::new();
    LOADED.get_or_init(load).as_ref().map_err(String::clone)
}

fn load() -> Result<Loaded, String> {
    let beside = mpiexec().and_then(|path| Some(path.parent()?.parent()?.join("lib")));
    let beside = beside.iter().flat_map(|folder| NAMES.iter().map(move |name| folder.join(name)));
    let mut reason = format!("MPI's standard ABI (libmpi_abi) is missing; {REMEDY}");
    for path in beside.chain(NAMES.iter().map(PathBuf::from)) {
        // SAFETY: the initialisers of a library of this name, which an administrator or user put there to be loaded,
        // have no preconditions.
        let Ok(library) = (unsafe { Library::new(&path) }) else { continue };
        match Functions::of(&library) {
            Ok(functions) => {
                // For the rest of the process: the functions are called from now on.
                std::mem::forget(library);
                return Ok(Loaded { path, functions });
            }
            Err(symbol) => reason = format!("{} has no {symbol}: it is too old; {REMEDY}", path.display()),
        }
    }
    Err(reason)
}

/// What the ranks of a cell talk by on this machine.
pub(crate) fn transport() -> TransportKind {
    if mpiexec().is_some() && found().is_ok() { TransportKind::Mpi } else { TransportKind::Threads }
}

/// The command that starts `program` as so many ranks; its arguments follow.
///
/// # Errors
/// [`crate::error::Error::NoDevice`] without `mpiexec`.
pub(crate) fn command(program: &Path, ranks: usize) -> crate::error::Result<Command> {
    let Some(launcher) = mpiexec() else {
        return Err(crate::error::Error::NoDevice(format!("mpiexec is not on PATH; {REMEDY}")));
    };
    let mut command = Command::new(launcher);
    // A rank is started by another process than this one, of which it is to run the file.
    let own = (program == Path::new(linux::OWN_FILE)).then(|| format!("/proc/{}/exe", std::process::id()).into());
    command.arg("-n").arg(ranks.to_string()).arg(own.unwrap_or_else(|| program.to_path_buf()));
    // Where this process is a rank itself, the others are no ranks of its job.
    for (name, _) in std::env::vars_os() {
        if OF_A_RANK.iter().any(|begin| name.to_string_lossy().starts_with(begin)) {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// What the names of variables begin with that a launcher sets for a rank.
const OF_A_RANK: [&str; 4] = ["PMI_", "PMIX_", "OMPI_COMM_WORLD_", "HYDI_"];

/// Which rank of how many this process is, where a launcher started several of it.
pub(crate) fn started_as() -> Option<(usize, usize)> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok();
    let of = |rank, size| Some((number(rank)?, number(size).filter(|size| *size > 1)?));
    of("PMI_RANK", "PMI_SIZE").or_else(|| of("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"))
}

/// The launcher on PATH.
pub(crate) fn mpiexec() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join("mpiexec")).find(|path| path.is_file())
}

/// Runs `work` in a process that is to be one of `ranks`. A rank that fails says so in one line, and ends all of them
/// with the code of its error.
pub(crate) fn as_one_of<R, E: Display>(
    ranks: usize,
    code_of: impl FnOnce(&E) -> u8,
    work: impl FnOnce(&mut Mpi) -> std::result::Result<R, E>,
) -> R {
    let mut mpi = match Mpi::begin(ranks) {
        Ok(mpi) => mpi,
        Err(cause) => {
            note!("relgrad: {cause}");
            std::process::exit(i32::from(code::NO_DEVICE));
        }
    };
    let done = match work(&mut mpi) {
        Ok(done) => done,
        Err(cause) => mpi.fail(&cause, code_of(&cause)),
    };
    // All ranks have done everything: an end of MPI that fails has no part in the result.
    if let Err(cause) = Transport::<f64>::barrier(&mut mpi) {
        mpi.fail(&cause, code::NO_DEVICE);
    }
    if let Err(cause) = mpi.finish() {
        note!("relgrad: {cause}");
    }
    done
}

/// What [`found`] found.
pub(crate) struct Facts {
    /// The library.
    pub(crate) path: &'static Path,
    /// The implementation's name and version, and the version of the ABI.
    pub(crate) version: String,
}

/// The library and its version, without beginning MPI.
///
/// # Errors
/// What is missing, and how to get it.
pub(crate) fn found() -> Result<Facts, String> {
    let Loaded { path, functions } = loaded()?;
    let (mut major, mut minor, mut length) = (0, 0, 0);
    let mut text = vec![0_u8; MOST_VERSION];
    // SAFETY: the function may be called before MPI begins, and writes two numbers.
    let told = unsafe { (functions.abi_version)(&mut major, &mut minor) };
    // SAFETY: as above; it writes at most MPI_MAX_LIBRARY_VERSION_STRING bytes, which `text` has.
    let named = unsafe { (functions.library_version)(text.as_mut_ptr().cast(), &mut length) };
    if (told, named) != (SUCCESS, SUCCESS) {
        return Err(format!("{} does not tell its version; {REMEDY}", path.display()));
    }
    let name = words(&text, length);
    let name = name.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(Facts { path, version: format!("{name}, ABI {major}.{minor}") })
}

/// The first `length` bytes as text.
fn words(text: &[u8], length: c_int) -> String {
    let length = usize::try_from(length).unwrap_or(0).min(text.len());
    String::from_utf8_lossy(&text[..length]).trim_end_matches('\0').to_string()
}

/// This process as one of the ranks that `mpiexec` started.
pub(crate) struct Mpi {
    functions: &'static Functions,
    rank: usize,
    ranks: usize,
    traffic: Traffic,
    /// Counts and places of the operation in progress, as MPI has them.
    counts: Vec<c_int>,
    places: Vec<c_int>,
}

impl Mpi {
    /// Begins MPI in a process that is to be one of `ranks`; the thread that calls it makes all further calls.
    ///
    /// # Errors
    /// [`Error::Transport`]: MPI is missing, does not begin, or has another number of ranks.
    fn begin(ranks: usize) -> Result<Self> {
        const NAME: &str = "start of MPI";
        let functions = &loaded().map_err(|cause| Error::transport(NAME, cause))?.functions;
        let (mut provided, mut rank, mut size) = (0, 0, 0);
        // SAFETY: called once in a process; no arguments are passed on, which null pointers say.
        let code = unsafe { (functions.init_thread)(null_mut(), null_mut(), THREAD_FUNNELED, &mut provided) };
        require(functions, NAME, code)?;
        // SAFETY: MPI has begun; both handles are constants of the standard.
        require(functions, NAME, unsafe { (functions.set_error_handler)(COMM_WORLD, ERRORS_RETURN) })?;
        // SAFETY: MPI has begun, and the function writes one number.
        require(functions, NAME, unsafe { (functions.comm_rank)(COMM_WORLD, &mut rank) })?;
        // SAFETY: as above.
        require(functions, NAME, unsafe { (functions.comm_size)(COMM_WORLD, &mut size) })?;
        let (rank, found) = (usize::try_from(rank).unwrap_or(0), usize::try_from(size).unwrap_or(0));
        if found != ranks {
            let cause = format!("{found} ranks instead of {ranks}: mpiexec and libmpi_abi are of different MPIs");
            return Err(Error::transport(NAME, cause));
        }
        if provided < THREAD_FUNNELED {
            return Err(Error::transport(NAME, "this MPI is not for programs with threads"));
        }
        let (counts, places) = (Vec::with_capacity(ranks), Vec::with_capacity(ranks));
        Ok(Self { functions, rank, ranks, traffic: Traffic::default(), counts, places })
    }

    /// Ends MPI, which waits for all ranks.
    ///
    /// # Errors
    /// [`Error::Transport`].
    fn finish(self) -> Result<()> {
        // SAFETY: MPI has begun, this thread began it, and no call follows.
        require(self.functions, "end of MPI", unsafe { (self.functions.finalize)() })
    }

    /// Says why and ends all ranks, this one with `code`.
    fn fail(&self, cause: &dyn Display, code: u8) -> ! {
        // What all ranks fail at is told once: the first one ends the others while they wait.
        std::thread::sleep(Duration::from_millis(100) * self.rank.min(10) as u32);
        note!("relgrad: rank {} of {} failed, the others are stopped: {cause}", self.rank, self.ranks);
        // SAFETY: MPI has begun.
        unsafe { (self.functions.abort)(COMM_WORLD, c_int::from(code)) };
        // Where MPI returns after all.
        std::process::exit(i32::from(code))
    }

    /// Counts and places as MPI has them.
    fn lay_out(&mut self, operation: &'static str, counts: &[usize]) -> Result<()> {
        let too_many = |_| Error::transport(operation, "more than 2^31 − 1 numbers: use more ranks or smaller batches");
        self.counts.clear();
        self.places.clear();
        let mut place = 0;
        for count in counts {
            self.counts.push(c_int::try_from(*count).map_err(too_many)?);
            self.places.push(c_int::try_from(place).map_err(too_many)?);
            place += count;
        }
        c_int::try_from(place).map(drop).map_err(too_many)
    }
}

fn datatype<T: Scalar>() -> Handle {
    match T::DTYPE {
        Dtype::F32 => FLOAT,
        Dtype::F64 => DOUBLE,
    }
}

/// An error with MPI's own words, unless `code` is success.
fn require(functions: &Functions, operation: &'static str, code: c_int) -> Result<()> {
    if code == SUCCESS {
        return Ok(());
    }
    let (mut text, mut length) = ([0_u8; MOST_ERROR], 0);
    // SAFETY: it writes at most MPI_MAX_ERROR_STRING bytes, which `text` has.
    let told = unsafe { (functions.error_string)(code, text.as_mut_ptr().cast(), &mut length) };
    let cause = if told == SUCCESS { words(&text, length) } else { format!("MPI's error {code}") };
    Err(Error::transport(operation, cause.lines().next().unwrap_or_default()))
}

impl<T: Scalar> Transport<T> for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.ranks
    }

    fn reduce_scatter(&mut self, counts: &[usize], sent: &mut Parcel<T>, received: &mut [T]) -> Result<()> {
        const NAME: &str = "reduce-scatter";
        let own = counts.get(self.rank).copied().unwrap_or(0);
        let room = (received.len(), own);
        require_room(NAME, (counts, self.ranks), (sent.numbers().len(), counts.iter().sum()), room)?;
        self.lay_out(NAME, counts)?;
        let (from, to) = (sent.numbers().as_ptr().cast(), received.as_mut_ptr().cast());
        let (counts, kind) = (self.counts.as_ptr(), datatype::<T>());
        // SAFETY: MPI has begun. `from` has the sum of all counts, `to` this rank's count of numbers of this kind, as
        // `require_room` has seen, and there is a count for each rank; the two do not overlap.
        let code = unsafe { (self.functions.reduce_scatter)(from, to, counts, kind, SUM, COMM_WORLD) };
        require(self.functions, NAME, code)?;
        self.traffic.add::<T>((self.ranks - 1) * own);
        Ok(())
    }

    fn all_gather(&mut self, counts: &[usize], sent: &mut Parcel<T>, received: &mut [T]) -> Result<()> {
        const NAME: &str = "all-gather";
        let own = counts.get(self.rank).copied().unwrap_or(0);
        let room = (received.len(), counts.iter().sum());
        require_room(NAME, (counts, self.ranks), (sent.numbers().len(), own), room)?;
        self.lay_out(NAME, counts)?;
        let (from, to) = (sent.numbers().as_ptr().cast(), received.as_mut_ptr().cast());
        let (counts, places, kind) = (self.counts.as_ptr(), self.places.as_ptr(), datatype::<T>());
        let count = self.counts[self.rank];
        // SAFETY: MPI has begun. `from` has this rank's count of numbers of this kind, `to` the sum of all counts, as
        // `require_room` has seen, and there are a count and a place for each rank; the two do not overlap.
        let code = unsafe { (self.functions.allgatherv)(from, count, kind, to, counts, places, kind, COMM_WORLD) };
        require(self.functions, NAME, code)?;
        self.traffic.add::<T>(received.len() - own);
        Ok(())
    }

    fn all_reduce(&mut self, numbers: &mut [f64]) -> Result<()> {
        const NAME: &str = "sum over ranks";
        let count = c_int::try_from(numbers.len()).map_err(|_| Error::transport(NAME, "too many numbers"))?;
        let to = numbers.as_mut_ptr().cast();
        // SAFETY: MPI has begun. `to` has `count` f64, which IN_PLACE says are what this rank sends too.
        let code = unsafe { (self.functions.allreduce)(IN_PLACE, to, count, DOUBLE, SUM, COMM_WORLD) };
        require(self.functions, NAME, code)
    }

    fn barrier(&mut self) -> Result<()> {
        // SAFETY: MPI has begun.
        require(self.functions, "barrier", unsafe { (self.functions.barrier)(COMM_WORLD) })
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mpi_says_is_cut_to_what_it_wrote() {
        assert_eq!(words(b"MPICH Version:\t5.0\0\0", 18), "MPICH Version:\t5.0");
        assert_eq!(words(b"abc", 99), "abc");
        assert_eq!(words(b"abc", -1), "");
    }

    /// Whether it is here or not, there is a sentence.
    #[test]
    fn it_is_found_or_the_remedy_is_told() {
        match found() {
            Ok(facts) => assert!(facts.version.contains("ABI 1."), "{}", facts.version),
            Err(told) => assert!(told.contains("pip install mpich"), "{told}"),
        }
    }
}
