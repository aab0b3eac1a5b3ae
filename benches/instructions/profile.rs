//! Reads what callgrind wrote.

use anyhow::{Context, Result};
use std::path::Path;

/// Instructions.
pub struct Counts {
    pub all: u64,
    /// Of micro-kernels, with what they call.
    pub kernel: u64,
}

/// Where the micro-kernels of this CPU are, and little else.
const KERNELS: &str = "qgemm_kernels::x86::";

impl Counts {
    pub fn read(profile: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(profile).with_context(|| profile.display().to_string())?;
        Self::parse(&text).with_context(|| format!("{}: not as callgrind writes it", profile.display()))
    }

    /// `fn=` names a function whose own costs follow. After `cfn=` and `calls=`, one line has what these
    /// calls cost, all included.
    fn parse(text: &str) -> Option<Self> {
        let (mut caller, mut callee, mut kernel) = ("", "", 0);
        let mut lines = text.lines();
        let mut all = None;
        while let Some(line) = lines.next() {
            if let Some(name) = line.strip_prefix("fn=") {
                caller = name;
            } else if let Some(name) = line.strip_prefix("cfn=") {
                callee = name;
            } else if line.starts_with("calls=") {
                let cost: u64 = lines.next()?.split(' ').next_back()?.parse().ok()?;
                if callee.contains(KERNELS) && !caller.contains(KERNELS) {
                    kernel += cost;
                }
            } else if let Some(cost) = line.strip_prefix("totals: ") {
                all = cost.trim().parse().ok();
            }
        }
        Some(Self { all: all?, kernel })
    }
}
