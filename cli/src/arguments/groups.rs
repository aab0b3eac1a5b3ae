//! `--bits` and `--group`: the codes and the groups of group-wise weights.

use crate::errors::invalid;
use anyhow::Result;
use qgemm::CodeBits;

/// Reads `--bits`.
pub fn bits(text: &str) -> Result<CodeBits> {
    match text.trim() {
        "4" => Ok(CodeBits::Four),
        "8" => Ok(CodeBits::Eight),
        _ => Err(invalid("--bits", text, "4 or 8")),
    }
}

/// Reads `--group`, the rows of a group of weights that have `k` rows.
pub fn group(text: &str, k: usize) -> Result<usize> {
    let fits = |group: &usize| *group > 0 && (group.is_multiple_of(8) || *group >= k);
    text.trim()
        .parse()
        .ok()
        .filter(fits)
        .ok_or_else(|| invalid("--group", text, format_args!("a multiple of 8 above 0, or at least K ({k})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, k, size) in [("32", 100, 32), (" 8", 0, 8), ("1000", 1000, 1000), ("1001", 1000, 1001)] {
            assert_eq!(group(text, k).unwrap(), size);
        }
        for (text, k) in [("0", 0), ("12", 100), ("999", 1000), ("-8", 3), ("x", 3), ("", 3), ("8.0", 3)] {
            let e = group(text, k).unwrap_err().to_string();
            assert_eq!(
                e,
                format!("--group: was '{text}', must be a multiple of 8 above 0, or at least K ({k})")
            );
        }
        assert_eq!((bits("4").unwrap(), bits("8").unwrap()), (CodeBits::Four, CodeBits::Eight));
        assert_eq!(bits("5").unwrap_err().to_string(), "--bits: was '5', must be 4 or 8");
    }
}
