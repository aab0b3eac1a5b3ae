//! The order of the sources: layers, no circles, paths that name the defining module, a true
//! ARCHITECTURE.md.
//!
//! # Layers
//!
//! A layer is an entry of a crate's source folder, `x.rs` or `x/`. [`CRATES`] lists the layers of each
//! crate, top first. A file imports from its own layer and from layers further down, and no files import
//! each other in a circle, not even inside a layer. A path names the module that defines the item,
//! `crate::error::Error`; it does not go through a re-export, takes no module as a whole with `*`, and
//! climbs by one `super` at most. Code for other architectures counts; `#[cfg(test)]` items do not. A
//! `main.rs` beside a `lib.rs` is a crate of its own and no layer.
//!
//! # ARCHITECTURE.md
//!
//! Between the lines `<!-- layers: src -->` and `<!-- /layers -->` stands a code fence. The first word of
//! each line in it is a layer with `.rs` or `/` behind it, in the order of [`CRATES`]; empty lines and
//! lines that begin with a blank are free. The crates in `kernels` and `cli` have such a section each.
//!
//! Between the lines `<!-- walk -->` and `<!-- /walk -->` every code span is either a file, by its path
//! from the root of the repository, or a function of the file before it: `function`, `Type::method`,
//! `Trait::method`. Nothing else stands in backticks there.
//!
//! ```text
//! 1. `src/call/gemm.rs` `Gemm::run_i32` checks the arguments, `product` makes the product of them.
//! 2. `src/engine/run.rs` `run` chooses by whether B is packed.
//! ```

mod layers {
    pub mod analysis;
    pub mod architecture;
    mod architecture_tests;
    pub mod graph;
    mod made_up_crates;
    pub mod mentions;
    pub mod modules;
    pub mod sources;
}

use layers::analysis::Crate;
use layers::sources::Sources;
use layers::{analysis, architecture, sources};
use std::path::Path;

/// The crates and their layers, top first.
const CRATES: &[Crate] = &[
    Crate {
        folder: "src",
        layers: &[
            "lib",
            "reference",
            "call",
            "engine",
            "product",
            "weights",
            "output",
            "quantize",
            "dispatch",
            "matrix",
            "one_or_each",
            "buffer",
            "rounding",
            "trace",
            "error",
            "element",
        ],
    },
    Crate {
        folder: "kernels/src",
        layers: &[
            "lib",
            "selftest",
            "entry",
            "peak",
            "table",
            "aarch64",
            "x86",
            "portable",
            "scalar",
            "groupwise",
            "contract",
            "offer",
            "huge_pages",
            "elements",
            "caches",
            "detect",
            "amx",
            "float_mode",
            "block",
            "raw_parts",
            "layout",
        ],
    },
    Crate {
        folder: "cli/src",
        layers: &[
            "lib",
            "verify",
            "tune",
            "bench",
            "matmul",
            "pack",
            "groupwise",
            "quantize",
            "forward",
            "digits",
            "info",
            "page",
            "results",
            "machine",
            "report",
            "four_bit",
            "network",
            "arguments",
            "files",
            "memory",
            "errors",
            "shape",
            "text",
        ],
    },
];

/// Folders with files that a crate includes by `#[path]`, or that the walk mentions.
const OTHER_FOLDERS: &[&str] = &["examples"];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn all_sources() -> Sources {
    let folders = CRATES.iter().map(|one| one.folder).chain(OTHER_FOLDERS.iter().copied());
    sources::read(repository(), folders)
}

fn document() -> String {
    std::fs::read_to_string(repository().join(architecture::DOCUMENT)).expect("ARCHITECTURE.md is readable")
}

fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn imports_point_downwards() {
    let sources = all_sources();
    let problems: Vec<String> = CRATES.iter().flat_map(|one| analysis::problems(one, &sources)).collect();
    assert_none(&problems);
}

#[test]
fn architecture_lists_the_layers() {
    let (sources, document) = (all_sources(), document());
    let of_crate = |one| architecture::layer_problems(&document, one, &sources);
    let problems: Vec<String> = CRATES.iter().flat_map(of_crate).collect();
    assert_none(&problems);
}

#[test]
fn architecture_walks_through_functions_that_exist() {
    assert_none(&architecture::walk_problems(&document(), &all_sources()));
}
