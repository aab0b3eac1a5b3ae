//! The cache sizes, of which that of L2 decides the blocks: those of this CPU, or of the environment variable
//! `QGEMM_CACHES`.

use crate::error::Error;
use qgemm_kernels::Caches;
use std::sync::OnceLock;

/// The environment variable with the sizes of L1d, L2 and L3.
const VARIABLE: &str = "QGEMM_CACHES";

/// The sizes, decided once per process.
///
/// # Errors
/// [`Error::Variable`] if the environment variable is no list of sizes.
pub(crate) fn caches() -> Result<Caches, Error> {
    static CACHES: OnceLock<Result<Caches, Error>> = OnceLock::new();
    let choose = || match std::env::var_os(VARIABLE) {
        Some(text) => parse(&text.to_string_lossy()),
        None => Ok(Caches::detect()),
    };
    CACHES.get_or_init(choose).clone()
}

/// Reads three sizes with commas between them: bytes, or KiB and MiB with K or M behind the number.
fn parse(text: &str) -> Result<Caches, Error> {
    let size = |text: &str| {
        let text = text.trim();
        let (digits, shift) = match text.strip_suffix(['K', 'k']) {
            Some(digits) => (digits, 10),
            None => text.strip_suffix(['M', 'm']).map_or((text, 0), |digits| (digits, 20)),
        };
        // `parse` alone would accept a sign.
        let digits = digits.bytes().all(|c| c.is_ascii_digit()).then_some(digits)?;
        digits.parse::<usize>().ok()?.checked_mul(1 << shift)
    };
    let sizes: Option<Vec<_>> = text.split(',').map(size).collect();
    match sizes.as_deref() {
        Some(&[l1d, l2, l3]) if l1d > 0 && l2 > 0 => Ok(Caches { l1d, l2, l3 }),
        _ => Err(Error::Variable {
            name: VARIABLE,
            got: text.to_string(),
            need: "the sizes of L1d, L2 (the share of a core) and L3 with commas, as 32K,1M,32M; 0 if there is no L3",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_or_refused() {
        let caches = |l1d, l2, l3| Ok(Caches { l1d, l2, l3 });
        assert_eq!(parse("32K,1M,32M"), caches(32 << 10, 1 << 20, 32 << 20));
        assert_eq!(parse(" 49152, 2048k ,0"), caches(49_152, 2 << 20, 0));
        let wrong =
            ["", "1", "1,2", "1,2,3,4", "0,1,1", "1,0,1", "a,1,1", "-1,1,1", "+1,1,1", "1,,1", "1K,1G,1"];
        let huge = ["1,99999999999999999999999,1".to_string(), format!("1,{}K,1", usize::MAX)];
        for text in wrong.iter().map(|text| text.to_string()).chain(huge) {
            let said = parse(&text).unwrap_err().to_string();
            assert!(
                said.starts_with(&format!(
                    "QGEMM_CACHES: was '{text}', must be the sizes of L1d, L2 (the share of a core) and L3"
                )),
                "{said}"
            );
        }
    }
}
