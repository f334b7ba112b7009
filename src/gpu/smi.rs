//! What the driver's own nvidia-smi(1) tells and no file does.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use super::Root;

/// Each GPU's compute capability by its PCI address, as far as the machine's nvidia-smi(1) can
/// tell.
pub(super) fn compute_capabilities(root: &Root) -> BTreeMap<String, String> {
    let asked = root.program("nvidia-smi").and_then(|program| {
        let mut command = Command::new(root.at(program));
        command.args(["--query-gpu=pci.bus_id,compute_cap", "--format=csv,noheader"]);
        command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()
    });
    let said = asked.filter(|asked| asked.status.success()).map(|asked| asked.stdout).unwrap_or_default();
    parse(&String::from_utf8_lossy(&said))
}

/// `00000000:17:00.0, 9.0`, a line each.
fn parse(said: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (address, capability) = line.split_once(',')?;
        let known = capability.trim().split_once('.').is_some();
        known.then(|| (short(address.trim()), capability.trim().to_owned()))
    };
    said.lines().filter_map(line).collect()
}

/// A PCI address with a domain of four digits, as `/proc` has it.
fn short(address: &str) -> String {
    let address = address.to_ascii_lowercase();
    address.strip_prefix("0000").filter(|rest| rest.find(':') == Some(4)).map(str::to_owned).unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compute_capabilities_are_by_pci_address() {
        let told = parse("00000000:17:00.0, 9.0\n0000:3B:00.0, 7.5\n00000000:65:00.0, [N/A]\nFailed to initialize\n");
        let expected = [("0000:17:00.0", "9.0"), ("0000:3b:00.0", "7.5")];
        assert_eq!(told, expected.map(|(address, capability)| (address.into(), capability.into())).into());
    }
}
