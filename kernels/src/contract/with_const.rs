//! Numbers of a call as constants of generic code.

/// Calls generic code with a number that is known at run time, from 1 to a constant:
/// `with_const!(H in [1, 2, 3, 4] = t.rows, at most Self::MR => tile::<H>(t))`.
/// The list must be all numbers up to that constant, or it does not compile. The macro stands in an `unsafe` block whose
/// proof says that the number is one of them.
macro_rules! with_const {
    ($name:ident in [$($n:literal),+] = $value:expr, at most $max:expr => $call:expr) => {{
        const {
            let list: &[usize] = &[$($n),+];
            let mut i = 0;
            while i < list.len() {
                assert!(list[i] == i + 1);
                i += 1;
            }
            assert!(list.len() == $max);
        }
        match $value {
            $($n => {
                const $name: usize = $n;
                $call
            })+
            _ => core::hint::unreachable_unchecked(),
        }
    }};
}
pub(crate) use with_const;
