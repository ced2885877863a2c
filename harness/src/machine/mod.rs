//! The machine that measures: facts for `run.json`, each left out where the system does not tell it.

mod cgroup;
mod cpu;
pub(crate) mod gpu;
pub(crate) mod linux;
pub(crate) mod load;
pub(crate) mod memory;
pub(crate) mod mpi;
pub(crate) mod time;
mod virtualization;

use relgrad_kernels::{Cpu, Math, Result};
use relgrad_reports::run::Machine;
use sysinfo::System;

use self::linux::line;

pub(crate) fn facts() -> Machine {
    let memory = Memory::read();
    Machine {
        cpu: cpu::model(),
        physical_cores: System::physical_core_count().ok(),
        logical_cores: logical_cores(),
        caches: cpu::caches(),
        simd: cpu::simd_level().to_string(),
        memory_bytes: memory.total,
        available_bytes: memory.available,
        governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        frequency_mhz: cpu::frequency_mhz(),
        load_average: System::load_average().ok().map(|load| load.one).filter(|load| load.is_finite()),
        huge_pages: line("/sys/kernel/mm/transparent_hugepage/enabled").map(|line| selected(&line)),
        virtualization: virtualization::detect(),
        os: operating_system(),
        gpus: gpu::describe(),
    }
}

/// Logical cores that this process may use: affinity, and quotas and sets of its control groups, included.
pub(crate) fn logical_cores() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    cgroup::cores().map_or(cores, |allowed| cores.min(allowed))
}

/// Fails unless this CPU can multiply in an arithmetic. A build with the feature `inject` takes a CPU for one without
/// AVX512-BF16 where `RELGRAD_WITHOUT_BF16` is set.
pub(crate) fn require_math(math: Math) -> Result<()> {
    #[cfg(feature = "inject")]
    if math == Math::Bf16 && std::env::var_os("RELGRAD_WITHOUT_BF16").is_some() {
        return Err(relgrad_kernels::Error::NoArithmetic { math, requirement: Cpu::OF_BF16 });
    }
    Cpu::new(1).with_math(math).map(|_| ())
}

/// Bytes of memory available to this process now.
pub(crate) fn available_bytes() -> u64 {
    Memory::read().available
}

/// Memory of the machine, or of the container or job where that is less.
struct Memory {
    total: u64,
    available: u64,
}

impl Memory {
    fn read() -> Self {
        let Ok(mut system) = System::new() else { return Self { total: 0, available: 0 } };
        system.refresh_memory();
        let (mut total, mut available) = (system.total_memory(), system.available_memory());
        if let Some(allowed) = cgroup::memory() {
            total = total.min(allowed.limit);
            available = available.min(allowed.available);
        }
        Self { total, available }
    }
}

fn operating_system() -> String {
    let name =
        System::long_os_version().or_else(|_| System::name()).unwrap_or_else(|_| std::env::consts::OS.to_string());
    match System::kernel_version() {
        Ok(kernel) => format!("{name}, kernel {kernel}, {}", std::env::consts::ARCH),
        Err(_) => format!("{name}, {}", std::env::consts::ARCH),
    }
}

/// The choice in brackets of a kernel setting: `madvise` of `always [madvise] never`.
fn selected(setting: &str) -> String {
    let inside = setting.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    inside.map_or(setting, |(choice, _)| choice).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_that_every_system_tells_are_there() {
        let facts = facts();
        assert!(!facts.cpu.is_empty());
        assert!(facts.logical_cores >= 1);
        assert!(!facts.simd.is_empty());
        assert!(facts.memory_bytes >= facts.available_bytes && facts.available_bytes > 0);
        assert!(!facts.os.is_empty());
        assert!(!facts.virtualization.is_empty());
    }

    #[test]
    fn a_kernel_setting_gives_its_bracketed_choice() {
        assert_eq!(selected("always [madvise] never"), "madvise");
        assert_eq!(selected("always"), "always");
    }
}
