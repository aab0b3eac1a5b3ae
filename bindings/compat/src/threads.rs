//! The threads of a call: no more than the replaced library would use.

use qgemm::Threads;

/// At most the number in the first of these environment variables that has one; all threads of the library without.
pub(crate) fn limited_by(variables: &[&str]) -> Threads<'static> {
    let number = variables.iter().find_map(|name| parse(std::env::var_os(name)?.to_str()?));
    number.map_or(Threads::ALL, Threads::at_most)
}

/// The first of a list of numbers, one for each level of nesting, as OpenMP has them.
fn parse(value: &str) -> Option<usize> {
    value.split(',').next()?.trim().parse().ok().filter(|&most| most > 0)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn numbers_are_those_of_the_outermost_level() {
        assert_eq!(["4", " 4 ,2", "0", "", "x", "-1"].map(parse), [Some(4), Some(4), None, None, None, None]);
    }
}
