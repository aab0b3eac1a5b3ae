//! The machine that the command runs on: its CPU, caches, memory, and how busy it is.

use anyhow::Result;
use qgemm::Dispatch;
use serde::{Deserialize, Serialize};
use sysinfo::{MemoryRefreshKind, System};

/// The machine, as far as times depend on it. What the system does not tell is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// `x86_64`, `aarch64`, ...
    pub arch: String,
    /// `linux`, `macos`, ...
    pub system: String,
    pub cpu: Cpu,
    pub caches: CacheSizes,
    /// The threads that this process may run at once: fewer than there are where it was bound to some cores.
    pub cores: usize,
    /// Bytes.
    pub memory: Option<u64>,
    /// Linux's policy of the clock's frequency: `performance`, `powersave`, ...
    pub governor: Option<String>,
    /// The CPU says that it belongs to a virtual machine.
    pub virtual_machine: Option<bool>,
}

/// The CPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    pub vendor: String,
    pub brand: String,
    /// Family, model and stepping as CPUID numbers them.
    pub family: Option<u8>,
    pub model: Option<u8>,
    pub stepping: Option<u8>,
    /// Those that matter for integer products.
    pub features: Vec<String>,
}

/// Bytes of the caches as the library takes them: those of a core, and L3 of all.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CacheSizes {
    pub l1d: usize,
    pub l2: usize,
    pub l3: usize,
}

impl Machine {
    /// This machine.
    pub fn this() -> Result<Self> {
        let caches = Dispatch::auto()?.caches();
        let mut system = System::new();
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        Ok(Self {
            arch: std::env::consts::ARCH.into(),
            system: std::env::consts::OS.into(),
            cpu: Cpu::this(),
            caches: CacheSizes { l1d: caches.l1d, l2: caches.l2, l3: caches.l3 },
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            memory: Some(system.total_memory()).filter(|bytes| *bytes > 0),
            governor: governor(),
            virtual_machine: virtual_machine(),
        })
    }
}

/// Processes that ran or waited on average in the last minute; `None` where the system counts none.
pub fn load() -> Option<f64> {
    let minute = System::load_average().one;
    (cfg!(unix) && minute.is_finite()).then_some(minute)
}

fn governor() -> Option<String> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").ok()?;
    Some(text.trim().to_string())
}

#[cfg(target_arch = "x86_64")]
fn virtual_machine() -> Option<bool> {
    raw_cpuid::CpuId::new().get_feature_info().map(|features| features.has_hypervisor())
}

#[cfg(not(target_arch = "x86_64"))]
fn virtual_machine() -> Option<bool> {
    None
}

impl Cpu {
    /// Family and model in words, with a comma before them; nothing if they are not known.
    pub fn number(&self) -> String {
        match (self.family, self.model) {
            (Some(family), Some(model)) => format!(", family {family} model {model}"),
            _ => String::new(),
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn this() -> Self {
        let cpuid = raw_cpuid::CpuId::new();
        let vendor = cpuid.get_vendor_info().map(|vendor| vendor.as_str().to_string());
        let brand = cpuid.get_processor_brand_string().map(|brand| brand.as_str().trim().to_string());
        let numbers = cpuid.get_feature_info();
        Self {
            vendor: vendor.unwrap_or_else(unknown),
            brand: brand.unwrap_or_else(unknown),
            family: numbers.as_ref().map(|cpu| cpu.family_id()),
            model: numbers.as_ref().map(|cpu| cpu.model_id()),
            stepping: numbers.as_ref().map(|cpu| cpu.stepping_id()),
            features: features(),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn this() -> Self {
        let mut system = System::new();
        system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
        let text = |of: fn(&sysinfo::Cpu) -> &str| {
            let found = system.cpus().first().map(|cpu| of(cpu).trim().to_string());
            found.filter(|text| !text.is_empty()).unwrap_or_else(unknown)
        };
        let (vendor, brand) = (text(sysinfo::Cpu::vendor_id), text(sysinfo::Cpu::brand));
        Self { vendor, brand, family: None, model: None, stepping: None, features: features() }
    }
}

fn unknown() -> String {
    "unknown".into()
}

/// The features of this CPU among those that matter for integer products.
fn features() -> Vec<String> {
    // The standard library's macros take string literals only.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    macro_rules! looked_up {
        ($is_detected:ident: $($name:tt)*) => { [$(($name, std::arch::$is_detected!($name))),*] };
    }
    #[cfg(target_arch = "x86_64")]
    let features = looked_up!(is_x86_feature_detected: "sse2" "ssse3" "sse4.1" "avx" "avx2" "fma" "avxvnni"
        "avxvnniint8" "avx512f" "avx512bw" "avx512vl" "avx512dq" "avx512vbmi" "avx512vnni");
    #[cfg(target_arch = "aarch64")]
    let features = looked_up!(is_aarch64_feature_detected: "neon" "dotprod" "i8mm" "sve" "sve2");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let features: [(&'static str, bool); 0] = [];
    features.into_iter().filter(|(_, detected)| *detected).map(|(name, _)| name.to_string()).collect()
}
