//! The number by which the kernel of AMX chooses between tiles and vectors: that of the kernels, or of the environment
//! variable `QGEMM_AMX_OVERHEAD`.

use crate::error::Error;
use std::sync::OnceLock;

/// The environment variable with the number of cycles.
const VARIABLE: &str = "QGEMM_AMX_OVERHEAD";

/// The number that the environment gives, if it does; read once per process.
///
/// # Errors
/// [`Error::Variable`] if the environment variable is no such number.
pub(crate) fn amx_overhead() -> Result<Option<u32>, Error> {
    static OVERHEAD: OnceLock<Result<Option<u32>, Error>> = OnceLock::new();
    let read = || std::env::var_os(VARIABLE).map(|text| parse(&text.to_string_lossy())).transpose();
    OVERHEAD.get_or_init(read).clone()
}

fn parse(text: &str) -> Result<u32, Error> {
    let text = text.trim();
    // `parse` alone would accept a sign.
    let digits = text.bytes().all(|c| c.is_ascii_digit()).then_some(text);
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| Error::Variable {
        name: VARIABLE,
        got: text.to_string(),
        need: "a number of cycles, 0 (tiles always) to 4294967295 (never)",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_or_refused() {
        assert_eq!(parse(" 400 "), Ok(400));
        assert_eq!(parse("4294967295"), Ok(u32::MAX));
        for text in ["", "-1", "+1", "1.5", "4294967296", "never"] {
            let need = "a number of cycles, 0 (tiles always) to 4294967295 (never)";
            let said = parse(text).unwrap_err().to_string();
            assert_eq!(said, format!("QGEMM_AMX_OVERHEAD: was '{text}', must be {need}"));
        }
    }
}
