//! Whether the machine is a container or a virtual one: timings there share cores with strangers.

use std::path::Path;

use super::linux::{self, line};

/// `container`, the hypervisor's name, both, or `none detected`.
pub(crate) fn detect() -> String {
    match (in_container(), hypervisor()) {
        (true, Some(name)) => format!("container on {name}"),
        (true, None) => "container".to_string(),
        (false, Some(name)) => name,
        (false, None) => "none detected".to_string(),
    }
}

fn in_container() -> bool {
    let marked = ["/.dockerenv", "/run/.containerenv"].iter().any(|path| Path::new(path).exists());
    let by_runtime = std::env::var_os("container").is_some() || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let groups = linux::first_groups().unwrap_or_default();
    marked || by_runtime || ["docker", "kubepods", "containerd", "lxc"].iter().any(|name| groups.contains(name))
}

/// The hypervisor, from the firmware's strings and the processor's flags.
fn hypervisor() -> Option<String> {
    const KNOWN: [(&str, &str); 9] = [
        ("kvm", "KVM"),
        ("qemu", "KVM/QEMU"),
        ("vmware", "VMware"),
        ("virtualbox", "VirtualBox"),
        ("innotek", "VirtualBox"),
        ("microsoft", "Hyper-V"),
        ("xen", "Xen"),
        ("amazon ec2", "Amazon EC2"),
        ("google", "Google Compute Engine"),
    ];
    if !linux::cpuinfo("flags")?.split(' ').any(|flag| flag == "hypervisor") {
        return None;
    }
    let firmware: String = ["sys_vendor", "product_name", "bios_vendor"]
        .iter()
        .filter_map(|name| line(format!("/sys/class/dmi/id/{name}")))
        .chain(line("/sys/hypervisor/type"))
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase();
    let name = KNOWN.iter().find(|(text, _)| firmware.contains(text)).map(|(_, name)| *name);
    Some(name.unwrap_or("a virtual machine").to_string())
}
