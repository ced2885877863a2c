//! NVIDIA GPUs: where their libraries are, what they are, and how they are doing.

use std::path::PathBuf;

use nvml_wrapper::Nvml;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use relgrad_kernels::device::cuda::{self, Facts, Library};
use relgrad_kernels::{Cuda, Error, Math, Result};
use relgrad_reports::record::GpuState;
use relgrad_reports::units;

/// The first GPU.
pub(crate) fn open(math: Math) -> Result<Cuda> {
    look_in_usual_folders();
    Cuda::new(0, math)
}

/// Fails, with what is missing, unless everything is there that a cell on a GPU will need.
pub(crate) fn require() -> Result<()> {
    look_in_usual_folders();
    cuda::require(&Library::ALL)?;
    cuda::count().map(|_| ())
}

pub(crate) fn memory_bytes() -> Result<u64> {
    look_in_usual_folders();
    Ok(cuda::devices()?.first().map_or(0, |facts| facts.memory_bytes))
}

/// One line about each GPU and its libraries; none where there are none.
pub(crate) fn describe() -> Vec<String> {
    look_in_usual_folders();
    let gpus = cuda::devices().unwrap_or_default();
    let software = software();
    gpus.iter().map(|facts| format!("{}, {software}", hardware(facts))).collect()
}

pub(crate) fn hardware(facts: &Facts) -> String {
    let (major, minor) = facts.compute_capability;
    format!("{}, {}, compute capability {major}.{minor}", facts.name, units::bytes(facts.memory_bytes as f64))
}

/// The driver's release, where NVML tells.
pub(crate) fn driver_release() -> Option<String> {
    Nvml::init().ok()?.sys_driver_version().ok()
}

fn software() -> String {
    let driver = driver_release().map(|release| format!("driver {release}"));
    let libraries = [("NVRTC", Library::Nvrtc), ("cuBLAS", Library::Cublas), ("cuSOLVER", Library::Cusolver)];
    let named = libraries.into_iter().filter_map(|(name, library)| Some(format!("{name} {}", cuda::version(library)?)));
    let parts: Vec<String> = driver.into_iter().chain(cuda::version(Library::Driver)).chain(named).collect();
    parts.join(", ")
}

/// Where toolkits put their libraries, if the system's loader does not look there by itself.
fn look_in_usual_folders() {
    let named = ["CUDA_PATH", "CUDA_HOME"].iter().filter_map(std::env::var_os).map(PathBuf::from);
    let roots = named.chain([PathBuf::from("/usr/local/cuda")]);
    cuda::look_in(roots.map(|root| root.join("lib64")).collect());
}

/// NVML's view of one GPU; silent where the library or the GPU does not tell.
pub(crate) struct Sensors {
    nvml: Option<Nvml>,
    uuid: String,
}

impl Sensors {
    /// Sensors of this very GPU: NVML counts them in another order than CUDA does.
    pub(crate) fn of(facts: &Facts) -> Self {
        Self { nvml: Nvml::init().ok(), uuid: facts.uuid.clone() }
    }

    pub(crate) fn read(&self) -> Option<GpuState> {
        let device = self.nvml.as_ref()?.device_by_uuid(self.uuid.as_str()).ok()?;
        let reasons = device.current_throttle_reasons().unwrap_or(ThrottleReasons::NONE);
        Some(GpuState {
            sm_mhz: device.clock_info(Clock::SM).ok().map(f64::from),
            memory_mhz: device.clock_info(Clock::Memory).ok().map(f64::from),
            power_watts: device.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1e3),
            temperature_celsius: device.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
            throttled_by: throttled_by(reasons),
        })
    }
}

/// The names of the reasons, in lower case. An idle GPU's low clocks hold nothing back.
fn throttled_by(reasons: ThrottleReasons) -> Vec<String> {
    let reasons = reasons.difference(ThrottleReasons::GPU_IDLE);
    reasons.iter_names().map(|(name, _)| name.to_lowercase()).collect()
}

/// What a user is told of an error that a GPU is the cause of.
pub(crate) fn told(error: Error) -> crate::error::Error {
    crate::error::Error::NoDevice(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_gpu_is_not_held_back() {
        assert!(throttled_by(ThrottleReasons::GPU_IDLE).is_empty());
        let reasons = ThrottleReasons::GPU_IDLE | ThrottleReasons::SW_POWER_CAP | ThrottleReasons::HW_SLOWDOWN;
        assert_eq!(throttled_by(reasons), ["sw_power_cap", "hw_slowdown"]);
    }

    #[test]
    fn without_a_driver_there_is_nothing_to_tell() {
        if require().is_ok() {
            return;
        }
        assert!(describe().is_empty());
        let facts = Facts {
            name: "none".to_string(),
            uuid: "GPU-0".to_string(),
            compute_capability: (9, 0),
            memory_bytes: 80 << 30,
        };
        assert_eq!(Sensors::of(&facts).read(), None);
        assert_eq!(hardware(&facts), "none, 80 GiB, compute capability 9.0");
        assert_eq!(told(require().unwrap_err()).code(), crate::error::code::NO_DEVICE);
    }
}
