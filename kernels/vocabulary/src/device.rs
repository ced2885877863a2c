//! Where a gradient is computed.

use std::fmt;
use std::str::FromStr;

use crate::Unknown;

/// A device, by the name that the command line and records use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// The host's cores.
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
}

impl DeviceKind {
    /// Every device.
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Cuda];

    /// `cpu` or `cuda`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DeviceKind {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        Self::ALL
            .into_iter()
            .find(|device| device.name() == text)
            .ok_or_else(|| Unknown::new("device", text, "cpu, cuda"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_known_is_no_cpu() {
        assert_eq!("cuda".parse(), Ok(DeviceKind::Cuda));
        let told = "tpu".parse::<DeviceKind>().unwrap_err().to_string();
        assert_eq!(told, "unknown device `tpu`: expected cpu, cuda");
    }
}
