//! Reading of callgrind's profiles.

use anyhow::{Context, Result};
use std::path::Path;

/// Numbers of instructions.
pub struct Counts {
    /// All that were counted.
    pub all: u64,
    /// Those of micro-kernels and of the functions that they call.
    pub kernel: u64,
}

/// The start of the names of micro-kernels; few other functions have it.
const KERNELS: &str = "qgemm_kernels::x86::";

impl Counts {
    pub fn read(profile: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(profile).with_context(|| profile.display().to_string())?;
        Self::parse(&text).with_context(|| format!("{}: not as callgrind writes it", profile.display()))
    }

    /// `fn=` names a function, and lines with its own costs follow. `cfn=` names a function that it calls, and the
    /// line after `calls=` ends in the cost of these calls, with all that they call.
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
