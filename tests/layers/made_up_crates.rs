//! The rules for imports, tried on small crates that break or keep them.

use super::analysis::{Crate, problems};
use super::sources::Sources;
use std::path::{Path, PathBuf};

/// A crate of three layers below its root.
const MADE_UP: Crate = Crate { folder: "src", layers: &["lib", "top", "middle", "bottom"] };

/// The problems of the made-up crate with these files. A layer without a file of its own is empty.
fn problems_of(files: &[(&str, &str)]) -> Vec<String> {
    let mut sources: Sources =
        files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
    let root = "mod top; mod middle; mod bottom;";
    sources.entry("src/lib.rs".into()).or_insert_with(|| root.to_owned());
    for layer in &MADE_UP.layers[1..] {
        let folder = Path::new("src").join(layer).join("mod.rs");
        if !sources.contains_key(&folder) {
            sources.entry(format!("src/{layer}.rs").into()).or_default();
        }
    }
    problems(&MADE_UP, &sources)
}

#[track_caller]
fn assert_problems(files: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(problems_of(files), expected);
}

const TOP: (&str, &str) = ("src/top.rs", "pub struct Top; pub const LIMIT: u8 = 1; pub fn run() {}");

#[test]
fn a_use_may_not_point_upwards() {
    let bottom = "use core::fmt;\nuse super::top::{\n    LIMIT as L,\n    Top,\n};\n";
    assert_problems(
        &[TOP, ("src/bottom.rs", bottom)],
        &[
            "src/bottom.rs:3: imports super::top::LIMIT: top lies above bottom",
            "src/bottom.rs:4: imports super::top::Top: top lies above bottom",
        ],
    );
    assert_problems(
        &[TOP, ("src/bottom.rs", "use crate::{bottom, top::{self}};")],
        &["src/bottom.rs:1: imports crate::top: top lies above bottom"],
    );
}

#[test]
fn an_inline_path_may_not_point_upwards() {
    let bottom = "fn f(_: &super::top::Top) {\n    crate::top::run();\n\
                  let crate::top::LIMIT = 1 else { return };\n}\n\
                  impl From<u8> for crate::top::Top {}\n#[self::super::top::run]\nstruct S;";
    assert_problems(
        &[TOP, ("src/bottom.rs", bottom)],
        &[
            "src/bottom.rs:1: imports super::top::Top: top lies above bottom",
            "src/bottom.rs:2: imports crate::top::run: top lies above bottom",
            "src/bottom.rs:3: imports crate::top::LIMIT: top lies above bottom",
            "src/bottom.rs:5: imports crate::top::Top: top lies above bottom",
            "src/bottom.rs:6: imports self::super::top::run: top lies above bottom",
        ],
    );
}

#[test]
fn a_path_inside_a_macro_may_not_point_upwards() {
    let bottom = "fn f() {\n    assert!(vec![super::top::LIMIT][0] == 1, \"crate::top::run\");\n\
                  for_each!(0..crate::top::LIMIT);\n}\n\
                  macro_rules! m {\n    ($x:expr) => { $crate::top::run() };\n}\n\
                  m! { use crate::top::{Top, run as go}; }";
    assert_problems(
        &[TOP, ("src/bottom.rs", bottom)],
        &[
            "src/bottom.rs:2: imports super::top::LIMIT: top lies above bottom",
            "src/bottom.rs:3: imports crate::top::LIMIT: top lies above bottom",
            "src/bottom.rs:6: imports crate::top::run: top lies above bottom",
            "src/bottom.rs:8: imports crate::top::Top: top lies above bottom",
            "src/bottom.rs:8: imports crate::top::run: top lies above bottom",
        ],
    );
}

#[test]
fn code_of_another_architecture_may_not_point_upwards() {
    assert_problems(
        &[
            TOP,
            ("src/middle/mod.rs", "#[cfg(target_arch = \"aarch64\")]\nmod arm;"),
            ("src/middle/arm.rs", "#[cfg(not(target_pointer_width = \"64\"))]\nuse crate::top::Top;"),
        ],
        &["src/middle/arm.rs:2: imports crate::top::Top: top lies above middle"],
    );
}

#[test]
fn a_module_by_another_name_is_seen_through() {
    let bottom = "use super::top as above;\nfn f() { above::deep::run(); }\n\
                  mod inside {\n    fn g() { super::above::deep::run(); }\n}";
    assert_problems(
        &[
            ("src/top/mod.rs", "pub mod deep;"),
            ("src/top/deep.rs", "pub fn run() {}"),
            ("src/bottom.rs", bottom),
        ],
        &[
            "src/bottom.rs:1: imports super::top: top lies above bottom",
            "src/bottom.rs:2: imports above::deep::run: top lies above bottom",
            "src/bottom.rs:4: imports super::above::deep::run: top lies above bottom",
        ],
    );
}

#[test]
fn a_file_included_by_its_path_has_a_layer() {
    let root = "mod top;\n#[path = \"../shared/middle_part.rs\"]\nmod middle;\nmod bottom;";
    let mut sources = Sources::new();
    sources.insert("src/lib.rs".into(), root.to_owned());
    sources.insert("src/top.rs".into(), "pub struct Top;".to_owned());
    sources.insert("shared/middle_part.rs".into(), "use crate::top::Top;".to_owned());
    sources.insert("src/bottom.rs".into(), "use crate::middle;".to_owned());
    assert_eq!(
        problems(&MADE_UP, &sources),
        [
            "shared/middle_part.rs:1: imports crate::top::Top: top lies above middle",
            "src/bottom.rs:1: imports crate::middle: middle lies above bottom",
        ]
    );
}

#[test]
fn two_files_of_a_folder_may_not_import_each_other() {
    assert_problems(
        &[
            ("src/middle/mod.rs", "mod a; mod b;"),
            ("src/middle/a.rs", "pub struct A;\nuse super::b::B;"),
            ("src/middle/b.rs", "pub struct B(super::a::A);"),
        ],
        &["2 files import each other in a circle: move what they share below them\n    \
           src/middle/a.rs:2: imports super::b::B from src/middle/b.rs\n    \
           src/middle/b.rs:1: imports super::a::A from src/middle/a.rs"],
    );
}

#[test]
fn a_circle_over_three_files_names_all() {
    assert_problems(
        &[
            ("src/middle.rs", "mod a;\nmod b;\npub struct Shared;\nfn f() { a::run(); a::run(); }"),
            ("src/middle/a.rs", "use crate::bottom::Low;\npub fn run() { super::b::run(); }"),
            ("src/middle/b.rs", "use super::Shared;\npub fn run() {}"),
            ("src/bottom.rs", "pub struct Low;"),
        ],
        &["3 files import each other in a circle: move what they share below them\n    \
           src/middle/a.rs:2: imports super::b::run from src/middle/b.rs\n    \
           src/middle/b.rs:1: imports super::Shared from src/middle.rs\n    \
           src/middle.rs:4: imports a::run from src/middle/a.rs"],
    );
}

#[test]
fn the_crate_root_is_no_way_to_an_item() {
    let root = "mod top; mod middle; mod bottom;\npub use bottom::Low;\npub use other::Far;\npub struct Own;";
    assert_problems(
        &[
            ("src/lib.rs", root),
            ("src/top.rs", "use crate::Low;\nuse super::{Far, Own};"),
            ("src/bottom.rs", "pub struct Low;"),
        ],
        &[
            "src/top.rs:1: imports crate::Low, which src/lib.rs does not define: name crate::bottom::Low",
            "src/top.rs:2: imports super::Far, which src/lib.rs does not define: name the module or the \
             crate that defines it",
            "src/top.rs:2: imports super::Own: lib lies above top",
        ],
    );
}

#[test]
fn a_folder_is_no_way_to_an_item_of_its_files() {
    assert_problems(
        &[
            ("src/middle/mod.rs", "mod a;\npub use a::Kind;"),
            ("src/middle/a.rs", "pub enum Kind { One }"),
            ("src/top.rs", "fn f() { crate::middle::Kind::One; }"),
        ],
        &["src/top.rs:1: imports crate::middle::Kind::One, which src/middle/mod.rs does not define: \
           name crate::middle::a::Kind::One"],
    );
}

#[test]
fn paths_climb_one_module_and_name_items() {
    assert_problems(
        &[
            ("src/middle/mod.rs", "mod a;"),
            (
                "src/middle/a.rs",
                "use super::super::bottom::Low;\nuse crate::bottom::*;\nmod b { use super::*; }",
            ),
            ("src/bottom.rs", "pub struct Low;"),
        ],
        &[
            "src/middle/a.rs:1: imports super::super::bottom::Low: write the path from crate",
            "src/middle/a.rs:2: imports crate::bottom::*: name the items",
            "src/middle/a.rs:3: imports super::*: name the items",
        ],
    );
}

#[test]
fn the_list_and_the_folder_agree() {
    assert_problems(
        &[
            ("src/lib.rs", "mod top; mod bottom; mod extra; mod more; #[cfg(test)] mod tests;"),
            ("src/middle.rs", ""),
            ("src/extra/mod.rs", ""),
            ("src/more.rs", ""),
            ("src/tests.rs", "mod deep;"),
            ("src/tests/deep.rs", ""),
        ],
        &[
            "src/middle.rs: no mod declaration leads to it: declare it or remove it",
            "src/extra/: extra is not in the list of layers: add it above all it imports",
            "src/more.rs: more is not in the list of layers: add it above all it imports",
        ],
    );
    let mut sources = Sources::new();
    sources.insert("src/lib.rs".into(), "mod bottom;\nmod middle;".to_owned());
    sources.insert("src/bottom.rs".into(), "fn f(".to_owned());
    assert_eq!(
        problems(&MADE_UP, &sources),
        [
            "src/bottom.rs:1: does not parse: cannot parse string into token stream",
            "src/lib.rs:2: declares mod middle, but there is no src/middle.rs or src/middle/mod.rs",
            "src: the list of layers names top, which does not exist: remove it",
            "src: the list of layers names middle, which does not exist: remove it",
        ]
    );
}

#[test]
fn a_binary_beside_the_library_is_no_layer() {
    assert_problems(&[TOP, ("src/main.rs", "fn main() { made_up::top::run() }")], &[]);
}

#[test]
fn imports_from_below_and_from_the_own_file_are_fine() {
    let top = "use crate::middle::{self, deep::{Deep, helper as help}};\nuse super::bottom;\nuse std::fmt;\n\
               pub(in crate::top) struct S;\nfn f() { middle::run(bottom::Low); inside::g(); S::new() }\n\
               mod inside { use super::S; pub fn g() { super::f(); self::h(); } fn h() {} }\n\
               fn slots() { crate::bottom::SLOT.with(crate::bottom::repeat!(crate::bottom::Kind::One)); }";
    let bottom = "pub struct Low;\npub enum Kind { One }\nthread_local! { pub static SLOT: u8 = 0; }\n\
                  macro_rules! repeat { () => {} }\npub(crate) use repeat;\n\
                  use Kind::*;\nuse self::Kind::One;";
    assert_problems(
        &[
            ("src/top.rs", top),
            ("src/middle/mod.rs", "pub mod deep;\npub fn run(_: crate::bottom::Low) {}"),
            ("src/middle/deep.rs", "pub struct Deep;\npub fn helper() {}"),
            ("src/bottom.rs", bottom),
        ],
        &[],
    );
}

#[test]
fn documentation_and_tests_may_look_anywhere() {
    let bottom = "//! See [`crate::top::Top`].\n/// See [`super::top::run`].\npub struct Low;\n\
                  #[cfg(test)]\nuse crate::top::Top;\n\
                  impl Low { #[cfg(test)] fn probe() { crate::top::run() } }\n\
                  #[cfg(test)]\nmod checks { use super::*; use crate::Any; }\n\
                  #[cfg(all(test, unix))]\nmod tests;";
    assert_problems(
        &[TOP, ("src/bottom.rs", bottom), ("src/bottom/tests.rs", "use super::super::top::*;\nmod more {}")],
        &[],
    );
}
