//! The checks of ARCHITECTURE.md, tried on small documents.

use super::analysis::Crate;
use super::architecture::{layer_problems, walk_problems};
use super::sources::Sources;

const MADE_UP: Crate = Crate { folder: "part/src", layers: &["lib", "top", "bottom"] };

fn sources() -> Sources {
    let mut sources = Sources::new();
    let top = "pub fn run() {}\nstruct Plan<T>(T);\nimpl<T> Plan<T> { fn new() {} }\n\
               trait Shape { fn area(); }\n\
               mod inside { fn deep() {} }\n#[cfg(test)] fn probe() {}";
    sources.insert("part/src/lib.rs".into(), String::new());
    sources.insert("part/src/top/mod.rs".into(), top.to_owned());
    sources.insert("part/src/bottom.rs".into(), String::new());
    sources
}

#[track_caller]
fn assert_layers(lines: &str, expected: &[&str]) {
    let document = format!("# A\n<!-- layers: part -->\n```text\n{lines}\n```\nWords.\n<!-- /layers -->\n");
    assert_eq!(layer_problems(&document, &MADE_UP, &sources()), expected);
}

#[test]
fn the_document_lists_the_layers_in_order() {
    assert_layers("lib.rs   promises\n\ntop/     runs\n  mod.rs and more\nbottom.rs", &[]);
    assert_layers(
        "lib.rs\nbottom.rs\ntop/",
        &["ARCHITECTURE.md:5: lists bottom.rs where top comes in the list of the test"],
    );
    assert_layers(
        "lib.rs\ntop.rs\nbottom",
        &["ARCHITECTURE.md:5: lists top.rs: write top/", "ARCHITECTURE.md:6: lists bottom: write bottom.rs"],
    );
    assert_layers("lib.rs\ntop/", &["ARCHITECTURE.md: the layers of part/src end before bottom"]);
    assert_layers(
        "lib.rs\ntop/\nbottom.rs\nextra.rs",
        &["ARCHITECTURE.md:7: lists extra.rs after the last layer of part/src"],
    );
}

#[test]
fn the_sections_have_both_markers() {
    assert_eq!(
        layer_problems("words", &MADE_UP, &sources()),
        ["ARCHITECTURE.md: has no line <!-- layers: part -->"]
    );
    assert_eq!(
        walk_problems("<!-- walk -->\nwords", &sources()),
        ["ARCHITECTURE.md: has no line <!-- /walk --> after <!-- walk -->"]
    );
}

#[track_caller]
fn assert_walk(lines: &str, expected: &[&str]) {
    let document = format!("`elsewhere`\n<!-- walk -->\n{lines}\n<!-- /walk -->\n`elsewhere.rs`\n");
    assert_eq!(walk_problems(&document, &sources()), expected);
}

#[test]
fn the_walk_names_functions_that_exist() {
    assert_walk(
        "1. `part/src/top/mod.rs` `run` makes a plan with `Plan::new`;\n   then `Shape::area` and `deep`.\n\
         2. `part/src/bottom.rs` has no function.",
        &[],
    );
    assert_walk(
        "`run` in\n`part/src/top/mod.rs` `new` `Plan::run` `probe`\n`part/src/gone.rs` `run`",
        &[
            "ARCHITECTURE.md:3: names run without a file that exists before it",
            "ARCHITECTURE.md:4: names new, a function that part/src/top/mod.rs does not define",
            "ARCHITECTURE.md:4: names Plan::run, a function that part/src/top/mod.rs does not define",
            "ARCHITECTURE.md:4: names probe, a function that part/src/top/mod.rs does not define",
            "ARCHITECTURE.md:5: names part/src/gone.rs, which does not exist",
            "ARCHITECTURE.md:5: names run without a file that exists before it",
        ],
    );
    assert_walk("Nothing.", &["ARCHITECTURE.md: the walk names no function"]);
}
