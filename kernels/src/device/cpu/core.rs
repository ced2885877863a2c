//! On which core a thread may run. A virtual machine's kernel takes an idle core for a lost one, and can leave two
//! threads of one program on the other.

/// The kernel's name of a thread.
#[derive(Debug, Clone, Copy)]
pub(super) struct Id(#[cfg(target_os = "linux")] libc::pid_t);

/// Cores on which a thread may run.
#[derive(Clone, Copy)]
pub(super) struct Cores(#[cfg(target_os = "linux")] libc::cpu_set_t);

#[cfg(target_os = "linux")]
impl Id {
    /// The calling thread's.
    pub(super) fn own() -> Self {
        // SAFETY: it takes nothing and returns a number.
        Self(unsafe { libc::gettid() })
    }
}

/// The core that the calling thread has now, where the system tells.
#[cfg(target_os = "linux")]
pub(super) fn current() -> Option<usize> {
    // SAFETY: it takes nothing and returns a number.
    usize::try_from(unsafe { libc::sched_getcpu() }).ok()
}

#[cfg(target_os = "linux")]
impl Cores {
    /// Those of the calling thread, where the kernel tells.
    pub(super) fn own() -> Option<Self> {
        // SAFETY: a set is plain data that may be zero, and the call writes to one.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            (libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) == 0).then_some(Self(set))
        }
    }

    /// All but `core`; nothing where it is the only one.
    pub(super) fn without(mut self, core: usize) -> Option<Self> {
        // SAFETY: they read and write within the set, as the core is in it.
        (core < 8 * size_of_val(&self.0)).then(|| unsafe { libc::CPU_CLR(core, &mut self.0) })?;
        // SAFETY: it reads the set.
        (unsafe { libc::CPU_COUNT(&self.0) } > 0).then_some(self)
    }

    /// Lets a thread run on these only. A refusal is of no consequence: it runs where it may.
    pub(super) fn confine(&self, thread: Id) {
        // SAFETY: the set is whole, and the call only reads it.
        let _ = unsafe { libc::sched_setaffinity(thread.0, size_of_val(&self.0), &raw const self.0) };
    }
}

/// Elsewhere nobody is asked.
#[cfg(not(target_os = "linux"))]
impl Id {
    pub(super) fn own() -> Self {
        Self()
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn current() -> Option<usize> {
    None
}

#[cfg(not(target_os = "linux"))]
impl Cores {
    pub(super) fn own() -> Option<Self> {
        None
    }

    pub(super) fn without(self, _core: usize) -> Option<Self> {
        None
    }

    pub(super) fn confine(&self, _thread: Id) {}
}
