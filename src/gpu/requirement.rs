//! What an image requires of the driver and the GPUs: its variables `NVIDIA_REQUIRE_…`.

use std::collections::BTreeMap;

use super::driver::{Driver, Gpu};
use super::{Compatibility, Error, Root, Version, smi};

/// What requirements are held against.
pub(super) struct Machine<'a> {
    root: &'a Root,
    driver: &'a Driver,
    gpus: &'a [&'a Gpu],
}

impl<'a> Machine<'a> {
    pub fn new(root: &'a Root, driver: &'a Driver, gpus: &'a [&'a Gpu]) -> Self {
        Self { root, driver, gpus }
    }

    /// Holds what the variables `env` require against this machine.
    ///
    /// # Errors
    /// [`Error::Requirement`], [`Error::Condition`].
    pub fn satisfies(&self, env: &BTreeMap<String, String>) -> Result<(), Error> {
        let disabled = env.get("NVIDIA_DISABLE_REQUIRE").map(String::as_str);
        // Go's strconv.ParseBool
        if matches!(disabled, Some("1" | "t" | "T" | "true" | "TRUE" | "True")) {
            return Ok(());
        }
        let required = env
            .iter()
            .filter(|(name, _)| name.starts_with("NVIDIA_REQUIRE_") && !name.starts_with("NVIDIA_REQUIRE_JETPACK"));
        for (variable, requirement) in required {
            self.satisfies_one(variable, requirement)?;
        }
        // container toolkit: an image with CUDA_VERSION alone requires that CUDA
        let version = env.get("CUDA_VERSION").filter(|_| env.get("NVIDIA_REQUIRE_CUDA").is_none_or(String::is_empty));
        match version.and_then(|version| version.parse::<Version>().ok()) {
            Some(version) => self.satisfies_one("CUDA_VERSION", &format!("cuda>={}", version.short())),
            None => Ok(()),
        }
    }

    /// User guide, "Constraints": conditions with commas between them all hold, and of those with
    /// spaces between them one does. Each GPU must satisfy them.
    fn satisfies_one(&self, variable: &str, requirement: &str) -> Result<(), Error> {
        let mut terms = Vec::new();
        for term in requirement.split_whitespace() {
            let parse = |text| {
                let form = || Error::Condition { variable: variable.to_owned(), condition: requirement.to_owned() };
                Condition::parse(text).ok_or_else(form)
            };
            terms.push(term.split(',').filter(|text| !text.is_empty()).map(parse).collect::<Result<Vec<_>, _>>()?);
        }
        // what nobody knows is left out, and a term without conditions, too
        terms.iter_mut().for_each(|term| term.retain(|condition| condition.property.is_some()));
        terms.retain(|term| !term.is_empty());
        let asks = terms.iter().flatten().any(|condition| condition.property == Some(Property::Arch));
        let capabilities = if asks { smi::compute_capabilities(self.root) } else { BTreeMap::new() };
        for gpu in self.gpus {
            let arch = capabilities.get(&gpu.pci).and_then(|capability| capability.parse().ok());
            let mut alternatives = terms.iter();
            if !terms.is_empty()
                && !alternatives
                    .any(|term| term.iter().all(|one| self.holds(one, &self.driver.version, gpu, arch.as_ref())))
            {
                return Err(self.refusal(requirement, &terms, gpu, arch.as_ref()));
            }
        }
        Ok(())
    }

    /// Whether the condition holds with this driver.
    fn holds(&self, condition: &Condition, driver: &Version, gpu: &Gpu, arch: Option<&Version>) -> bool {
        let cuda = Compatibility::shipped().brought_by(driver);
        let has = match condition.property {
            Some(Property::Cuda) => cuda.as_ref(),
            Some(Property::Driver) => Some(driver),
            Some(Property::Arch) => arch,
            // libnvidia-container compares names whatever their case
            Some(Property::Brand) => {
                let (brand, value) = (gpu.brand(), condition.value.to_ascii_lowercase());
                return condition.operator.compares(brand.cmp(&value));
            }
            None => None,
        };
        match (has, condition.value.parse::<Version>()) {
            (Some(has), Ok(value)) => condition.operator.compares(has.cmp(&value)),
            // what can't be found out keeps nothing from running
            _ => true,
        }
    }

    fn refusal(&self, requirement: &str, terms: &[Vec<Condition>], gpu: &Gpu, arch: Option<&Version>) -> Error {
        let driver = terms.iter().find_map(|term| self.driver_for(term, gpu, arch));
        let arch = arch.map(|arch| format!(", and its compute capability {arch}")).unwrap_or_default();
        let cuda = self.driver.cuda().map(|cuda| format!(", with CUDA {cuda}")).unwrap_or_default();
        Error::Requirement {
            // NVIDIA's own go on for a page: the first is what it is about
            requirement: requirement.split_whitespace().next().unwrap_or(requirement).to_owned(),
            has: format!("the driver of this machine's {} is {}{cuda}{arch}", gpu.model, self.driver.version),
            driver,
        }
    }

    /// The oldest driver with which `term` would hold, of those that are newer than this machine's:
    /// the branches that are known, and the drivers that it names.
    fn driver_for(&self, term: &[Condition], gpu: &Gpu, arch: Option<&Version>) -> Option<String> {
        let of_driver = |condition: &&Condition| condition.property == Some(Property::Driver);
        let named = term.iter().filter(of_driver).filter_map(|condition| condition.value.parse().ok());
        let known = Compatibility::shipped().branches().chain(named);
        let would_do = |driver: &Version| {
            *driver > self.driver.version && term.iter().all(|condition| self.holds(condition, driver, gpu, arch))
        };
        let driver = known.filter(would_do).min()?;
        let has_end = term.iter().any(Condition::bounds_driver);
        Some(if has_end { driver.to_string() } else { format!("{driver} or newer") })
    }
}

/// `cuda>=12.4`.
#[derive(Debug, PartialEq, Eq)]
struct Condition {
    /// None for one that nobody here knows.
    property: Option<Property>,
    operator: Operator,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Property {
    Cuda,
    Driver,
    Arch,
    Brand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Operator {
    fn compares(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterEqual => order.is_ge(),
        }
    }
}

impl Condition {
    /// Whether a driver that satisfies it may have a newer one that doesn't.
    fn bounds_driver(&self) -> bool {
        let has_no_end = matches!(self.operator, Operator::Greater | Operator::GreaterEqual);
        !has_no_end && matches!(self.property, Some(Property::Cuda | Property::Driver))
    }

    fn parse(text: &str) -> Option<Self> {
        const OPERATORS: [(&str, Operator); 6] = [
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessEqual),
            (">=", Operator::GreaterEqual),
            ("=", Operator::Equal),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let (name, rest) = text.split_at(text.find(['<', '>', '=', '!'])?);
        let (operator, value) =
            OPERATORS.iter().find_map(|(sign, operator)| Some((*operator, rest.strip_prefix(sign)?)))?;
        let property = match name {
            "cuda" => Some(Property::Cuda),
            "driver" => Some(Property::Driver),
            "arch" => Some(Property::Arch),
            "brand" => Some(Property::Brand),
            _ => None,
        };
        let is_version = matches!(property, None | Some(Property::Brand)) || value.parse::<Version>().is_ok();
        (is_version && !value.is_empty()).then(|| Self { property, operator, value: value.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::driver::Module;
    use super::*;

    /// What NVIDIA's images of CUDA 12.4 say, abridged.
    const CUDA_12_4: &str = "cuda>=12.4 brand=tesla,driver>=470,driver<471 brand=nvidiartx,driver>=535,driver<536";

    fn satisfies(driver: &str, model: &str, env: &[(&str, &str)]) -> Result<(), String> {
        held(driver, model, "", env).map_err(|error| error.to_string())
    }

    /// The same where nvidia-smi tells this compute capability.
    fn held(driver: &str, model: &str, capability: &str, env: &[(&str, &str)]) -> Result<(), Error> {
        let driver = Driver { version: driver.parse().unwrap(), module: Module::Open };
        let gpu = Gpu {
            index: 0,
            model: model.to_owned(),
            uuid: None,
            pci: "0000:01:00.0".to_owned(),
            minor: Some(0),
            compute_capability: None,
        };
        let root = tempfile::tempdir().unwrap();
        if !capability.is_empty() {
            let smi = root.path().join("usr/bin/nvidia-smi");
            std::fs::create_dir_all(smi.parent().unwrap()).unwrap();
            std::fs::write(&smi, format!("#!/bin/sh\necho '00000000:01:00.0, {capability}'\n")).unwrap();
            std::fs::set_permissions(&smi, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let env = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let (root, gpus) = (Root::new(root.path()), [&gpu]);
        Machine::new(&root, &driver, &gpus).satisfies(&env)
    }

    #[test]
    fn one_of_the_terms_must_hold_with_all_of_its_conditions() {
        let cuda = |driver: &str, model: &str| satisfies(driver, model, &[("NVIDIA_REQUIRE_CUDA", CUDA_12_4)]);
        assert_eq!(cuda("550.54.15", "NVIDIA GeForce RTX 4090"), Ok(()));
        assert_eq!(cuda("999.1", "NVIDIA GeForce RTX 4090"), Ok(()), "a driver that nobody knows yet");
        assert_eq!(cuda("470.82.01", "Tesla V100-SXM2-16GB"), Ok(()));
        let why = cuda("470.82.01", "NVIDIA GeForce RTX 3090").unwrap_err();
        assert_eq!(
            why,
            "the image needs `cuda>=12.4`, and the driver of this machine's NVIDIA GeForce RTX 3090 is 470.82.01, with CUDA 11.4"
        );
        assert!(cuda("471.1", "Tesla V100-SXM2-16GB").is_err());
    }

    #[test]
    fn requirements_may_be_several_unknown_disabled_or_wrong() {
        let run = |env: &[(&str, &str)]| satisfies("535.104.05", "NVIDIA A100-SXM4-40GB", env);
        assert_eq!(run(&[]), Ok(()));
        assert_eq!(
            run(&[("NVIDIA_REQUIRE_CUDA", "cuda>=12.2"), ("NVIDIA_REQUIRE_MORE", "driver!=535.1,brand=nvidia")]),
            Ok(())
        );
        assert!(run(&[("NVIDIA_REQUIRE_CUDA", "cuda>=12.2"), ("NVIDIA_REQUIRE_MORE", "driver<535")]).is_err());
        assert_eq!(run(&[("NVIDIA_REQUIRE_CUDA", "colour=red")]), Ok(()));
        assert_eq!(run(&[("NVIDIA_REQUIRE_CUDA", "arch>=8.0")]), Ok(()), "it can't be found out here");
        assert_eq!(run(&[("NVIDIA_REQUIRE_CUDA", "cuda>=13.0"), ("NVIDIA_DISABLE_REQUIRE", "true")]), Ok(()));
        assert!(run(&[("NVIDIA_REQUIRE_CUDA", "cuda>=13.0"), ("NVIDIA_DISABLE_REQUIRE", "0")]).is_err());
        assert!(run(&[("CUDA_VERSION", "12.4.1")]).is_err(), "an image of before the variables");
        assert_eq!(run(&[("CUDA_VERSION", "12.4.1"), ("NVIDIA_REQUIRE_CUDA", "cuda>=9.0")]), Ok(()));
        for wrong in ["cuda", "cuda>=new", "cuda=>12", "cuda>="] {
            assert!(
                run(&[("NVIDIA_REQUIRE_CUDA", wrong)]).unwrap_err().contains("a condition that is none"),
                "{wrong}"
            );
        }
    }

    /// Container toolkit, internal/requirements: "space-separated constraints being ORed together and
    /// comma-separated constraints being ANDed together"; several variables must all hold, and what is not
    /// known is skipped.
    #[test]
    fn conditions_are_combined_as_the_container_toolkit_does() {
        let holds = |requirement: &str| {
            let env = [("NVIDIA_REQUIRE_CUDA", requirement)];
            held("535.104.05", "NVIDIA GeForce RTX 3090", "8.6", &env).is_ok()
        };
        for (requirement, expected) in [
            ("cuda>=12.2", true),
            ("cuda>12.2", false),
            ("cuda=12.2", true),
            ("cuda!=12.2", false),
            ("cuda<12.3,cuda>=12.0", true),
            ("cuda>=12.0,driver<535", false),
            ("driver=535.104.05", true),
            ("driver<=535", false),
            ("cuda>=13.0 driver>=535", true),
            ("cuda>=13.0  brand=geforcertx,driver>=536", false),
            ("brand=geforcertx", true),
            ("brand=GeForceRTX", true),
            ("brand=geforce", false),
            ("brand!=tesla", true),
            ("arch>=8.0", true),
            ("arch>=8.0,arch<9.0", true),
            ("arch>=9.0", false),
            ("arch=8.6", true),
            ("arch<7.5 brand=geforcertx", true),
            ("colour=red,cuda>=13.0", false),
            ("colour=red cuda>=13.0", false),
            (",cuda>=12.2, ", true),
            ("", true),
        ] {
            assert_eq!(holds(requirement), expected, "{requirement}");
        }
        assert!(held("999.1", "Tesla T4", "", &[("NVIDIA_REQUIRE_CUDA", "cuda>=99.0")]).is_ok(), "nobody knows it yet");
        assert!(held("470.82.01", "Tesla T4", "", &[("CUDA_VERSION", "12.4.1"), ("NVIDIA_REQUIRE_CUDA", "")]).is_err());
        assert!(held("470.82.01", "Tesla T4", "", &[("NVIDIA_REQUIRE_JETPACK_HOST_MOUNTS", "base-only")]).is_ok());
    }

    #[test]
    fn a_refusal_names_the_driver_that_would_do() {
        const NONE: &str = "no newer driver is known to change that";
        let hint = |driver: &str, requirement: &str| {
            let refused = held(driver, "Tesla T4", "7.5", &[("NVIDIA_REQUIRE_CUDA", requirement)]);
            refused.unwrap_err().hint().unwrap()
        };
        for (driver, requirement, expected) in [
            ("450.51.05", CUDA_12_4, "install the NVIDIA driver 550 or newer"),
            ("450.51.05", "cuda>=99.0 brand=tesla,driver>=470,driver<471", "install the NVIDIA driver 470,"),
            ("450.51.05", "driver>=525.60.13", "install the NVIDIA driver 525.60.13 or newer"),
            ("450.51.05", "cuda>=11.8,driver>=535", "install the NVIDIA driver 535 or newer"),
            ("535.104.05", "cuda>12.4", "install the NVIDIA driver 555 or newer"),
            ("550.54.15", "cuda>12.4", "install the NVIDIA driver 555 or newer"),
            ("535.104.05", "driver>535.104.05", "install the NVIDIA driver 545 or newer"),
            ("470.82.01", "cuda=12.2", "install the NVIDIA driver 535,"),
            ("550.54.15", "cuda=12.2", NONE),
            ("470.82.01", "driver=535.104.05", "install the NVIDIA driver 535.104.05,"),
            ("550.54.15", "driver=535.104.05", NONE),
            ("550.54.15", "driver>=470,driver<471", NONE),
            ("470.82.01", "driver>=535,cuda<=12.1", NONE),
            ("450.51.05", "cuda>=99.0", NONE),
            ("450.51.05", "arch>=8.0,cuda>=12.4", NONE),
            ("550.54.15", "brand=geforce", NONE),
        ] {
            let said = hint(driver, requirement);
            assert!(said.starts_with(expected), "{requirement} on {driver}: {said}");
        }
    }
}
