//! The processor: model, caches, SIMD level, frequency.

use std::fs;

use super::linux::{cpuinfo, line};

pub(crate) fn model() -> String {
    cpuinfo("model name").or_else(|| cpuinfo("Model")).unwrap_or_else(|| {
        let brand = sysinfo_brand();
        if brand.is_empty() { format!("unknown {}", std::env::consts::ARCH) } else { brand }
    })
}

/// Caches of the first core, smallest first, for instance `L2 2048K unified, shared by cores 0`.
pub(crate) fn caches() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu/cpu0/cache") else { return Vec::new() };
    let mut folders: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    let describe = |folder: &std::path::PathBuf| {
        let read = |name: &str| line(folder.join(name));
        let (level, size, kind) = (read("level")?, read("size")?, read("type")?);
        let shared = read("shared_cpu_list").map_or(String::new(), |list| format!(", shared by cores {list}"));
        Some(format!("L{level} {size} {}{shared}", kind.to_lowercase()))
    };
    folders.iter().filter_map(describe).collect()
}

/// Widest SIMD level that run-time dispatch finds here.
pub(crate) fn simd_level() -> &'static str {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    {
        if std::is_x86_feature_detected!("avx512f") {
            return "avx512";
        }
        if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            return "avx2+fma";
        }
        return "sse2";
    }
    #[cfg(target_arch = "aarch64")]
    return "neon";
    #[allow(unreachable_code, reason = "the branches above return on the architectures they are compiled for")]
    "scalar"
}

pub(crate) fn frequency_mhz() -> Option<f64> {
    let kilohertz =
        line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq").and_then(|text| text.parse::<f64>().ok());
    kilohertz.map(|value| value / 1e3).or_else(|| cpuinfo("cpu MHz")?.parse().ok())
}

/// The brand string that `sysinfo` knows, for systems without `/proc`.
fn sysinfo_brand() -> String {
    let Ok(mut system) = sysinfo::System::new() else { return String::new() };
    system.refresh_cpu_all();
    system.cpus().first().map_or(String::new(), |cpu| cpu.brand().to_string())
}
