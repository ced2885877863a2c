//! Where a gradient is computed.

use crate::names;
use crate::spelt::spelt;

names! {
    /// A device, by the name that the command line and records use.
    DeviceKind, "device", {
        /// The host's cores.
        Cpu = "cpu",
        /// The first NVIDIA GPU.
        Cuda = "cuda",
    }
}

spelt!(DeviceKind);

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
