//! Numbers of a call as constants of generic code.

/// Calls generic code with a number that is known at run time: `with_const!(H in [1, 2, 3] = t.rows => tile::<H>(t))`.
/// It stands in an `unsafe` block whose proof says that the number is one of the list.
macro_rules! with_const {
    ($name:ident in [$($n:literal),+] = $value:expr => $call:expr) => {
        match $value {
            $($n => {
                const $name: usize = $n;
                $call
            })+
            _ => core::hint::unreachable_unchecked(),
        }
    };
}
pub(crate) use with_const;
