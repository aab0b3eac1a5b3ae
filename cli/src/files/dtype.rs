//! Element types of `.npy` files, by numpy's names.

/// An element type in words, from its code in a header: `<i8` is `elements of type int64`. A code that numpy has no name
/// for is shown as it is.
pub fn describe(descr: &str) -> String {
    match name(descr) {
        Some(name) => format!("elements of type {name}"),
        None => {
            let shown: String = descr.chars().take(20).flat_map(char::escape_debug).collect();
            format!("elements of an unknown type [{shown}]")
        }
    }
}

/// `dtype.name`, with the byte order in front of it where that is not the usual one.
fn name(descr: &str) -> Option<String> {
    let order = descr.chars().next().filter(|order| "<>|=".contains(*order));
    let code = &descr[order.map_or(0, char::len_utf8)..];
    let kind = code.chars().next()?;
    let size = &code[kind.len_utf8()..];
    let bytes = || if size.bytes().all(|c| c.is_ascii_digit()) { size.parse::<u32>().ok() } else { None };
    let bits = |name: &str, known: &[u32]| {
        let bytes = bytes().filter(|bytes| known.is_empty() || known.contains(bytes))?;
        Some(format!("{name}{}", bytes.checked_mul(8)?))
    };
    let name = match kind {
        'b' | '?' if matches!(size, "" | "1") => "bool".into(),
        'i' => bits("int", &[1, 2, 4, 8])?,
        'u' => bits("uint", &[1, 2, 4, 8])?,
        'f' => bits("float", &[2, 4, 8, 12, 16])?,
        'c' => bits("complex", &[8, 16, 24, 32])?,
        'S' | 'a' => bits("bytes", &[])?,
        'V' => bits("void", &[])?,
        // A character has four bytes.
        'U' => format!("str{}", bytes()?.checked_mul(32)?),
        'O' => "object".into(),
        'M' => format!("datetime64{}", unit(size)?),
        'm' => format!("timedelta64{}", unit(size)?),
        _ => return None,
    };
    let is_of_bytes = matches!(kind, 'b' | '?' | 'S' | 'a' | 'V' | 'O') || bytes() == Some(1);
    Some(if order == Some('>') && !is_of_bytes { format!("big-endian {name}") } else { name })
}

/// The unit in `8[ns]`: `[ns]`, or nothing.
fn unit(size: &str) -> Option<&str> {
    let unit = size.strip_prefix('8')?;
    let is_unit = unit
        .strip_prefix('[')
        .and_then(|unit| unit.strip_suffix(']'))
        .is_some_and(|unit| unit.len() <= 10 && unit.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'/'));
    (unit.is_empty() || is_unit).then_some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_numpy() {
        let names = [
            ("|b1", "bool"),
            ("|i1", "int8"),
            ("|u1", "uint8"),
            ("<i8", "int64"),
            ("<u2", "uint16"),
            ("<f2", "float16"),
            ("<f16", "float128"),
            ("<c8", "complex64"),
            ("<c16", "complex128"),
            ("|S5", "bytes40"),
            ("<U5", "str160"),
            ("|O", "object"),
            ("|V8", "void64"),
            ("<M8[ns]", "datetime64[ns]"),
            ("<m8", "timedelta64"),
            (">i4", "big-endian int32"),
            (">i1", "int8"),
            (">U2", "big-endian str64"),
        ];
        for (descr, name) in names {
            assert_eq!(describe(descr), format!("elements of type {name}"));
        }
    }

    #[test]
    fn unknown_codes_are_shown() {
        for descr in
            ["", "<", "<x9", "i", "<i3", "<i+4", "<f99999999999", "<U4000000000", "<M8[\u{1b}[2J]", "é"]
        {
            let shown: String = descr.chars().flat_map(char::escape_debug).collect();
            assert_eq!(describe(descr), format!("elements of an unknown type [{shown}]"));
        }
        assert_eq!(describe(&"x".repeat(60000)), format!("elements of an unknown type [{}]", "x".repeat(20)));
    }
}
