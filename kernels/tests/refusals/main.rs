//! Arguments that do not fit each other: each entry point panics before it reads or writes beyond one of them. With all
//! of them just as long as they must be, it does not.

mod features;
mod groups;
mod operands;
mod products;

use qgemm_kernels::{Features, Ready, TABLE};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Asserts that each of the calls panics that `call` makes for one of `wrong`, and that it makes for "" does not. The
/// message, which each of `wrong` has beside it, is that of the entry point: kernels have debug assertions of their own.
fn refuses(what: &str, wrong: &[(&str, &str)], call: impl Fn(&str)) {
    call("");
    for (wrong, message) in wrong {
        let result = catch_unwind(AssertUnwindSafe(|| call(wrong)));
        let panic = result.expect_err(&format!("{what}: wrong {wrong} was not refused"));
        let got =
            panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        assert!(got.is_some_and(|got| got.contains(message)), "{what}, {wrong}: {got:?}");
    }
}

/// The values, without the last one if `wrong` is their name.
fn less<'a, T>(values: &'a [T], name: &str, wrong: &str) -> &'a [T] {
    &values[..values.len() - usize::from(name == wrong)]
}

fn ready() -> impl Iterator<Item = Ready> {
    let features = Features::detect();
    TABLE.iter().filter_map(move |kernel| kernel.ready(&features))
}
