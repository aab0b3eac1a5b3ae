//! Where `unsafe` stands, and that each block says why it holds, also in code that is not compiled for this CPU.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::path::{Path, PathBuf};

/// Folders of unsafe code that programs run, and other files with some.
const PLACES: [&str; 14] = [
    "kernels/",
    "bindings/",
    // Machines without an operating system, a module without a standard library.
    "emu/bochs/rig/",
    "emu/wasm/",
    // Views by address.
    "benches/opponents/",
    "examples/ndarray.rs",
    "tests/gemm/errors.rs",
    "tests/gemm/parts.rs",
    // Calls of the C binding, as C makes them.
    "fuzz/src/c_abi/calls/",
    // Instructions that the CPU lacks, executed in software where tests stop at them.
    "emu/tiles/",
    // Allocators that count, and that fail; processes that fork; inaccessible pages.
    "tests/guarded/memory.rs",
    "tests/alloc/counting.rs",
    "tests/failing.rs",
    "tests/fork.rs",
];

/// The lines of blocks and implementations that are unsafe, and whether there is any unsafe code at all.
fn unsafe_lines(tokens: TokenStream, lines: &mut Vec<usize>) -> bool {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut found = false;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => found |= unsafe_lines(group.stream(), lines),
            TokenTree::Ident(word) if word == "unsafe" => {
                let explained = match tokens.get(at + 1) {
                    Some(TokenTree::Group(block)) => block.delimiter() == Delimiter::Brace,
                    Some(TokenTree::Ident(word)) => word == "impl",
                    _ => false,
                };
                if explained {
                    lines.push(word.span().start().line);
                }
                found = true;
            }
            _ => (),
        }
    }
    found
}

/// The attribute of an implementation whose SAFETY comment is that of all its blocks.
const FOR_ALL: &str = "#[allow(clippy::undocumented_unsafe_blocks)]";

/// Whether a SAFETY comment stands above a line, before what is another statement, or above the item that it is part of, which
/// then says so.
fn is_explained(text: &[&str], line: usize) -> bool {
    let item_ends = |line: &&str| line.starts_with('}');
    let item = text[..line - 1].iter().rposition(item_ends).map_or(0, |at| at + 1);
    if let Some(at) = text[item..line - 1].iter().position(|line| line.starts_with(FOR_ALL)) {
        return has_comment(text, item + at + 1);
    }
    has_comment(text, line)
}

/// Whether a SAFETY comment stands above a line, before what is another statement.
fn has_comment(text: &[&str], line: usize) -> bool {
    // The line itself has the code before `unsafe`.
    for above in text[..line - 1].iter().rev().map(|line| line.trim()) {
        if above.starts_with("//") {
            if above.contains("SAFETY") {
                return true;
            }
        } else if above.is_empty() || above.ends_with([';', '}', '{']) {
            return false;
        }
    }
    false
}

fn problems(path: &Path, text: &str) -> Vec<String> {
    let tokens: TokenStream = text.parse().expect("a Rust file");
    let mut unsafe_blocks = Vec::new();
    if !unsafe_lines(tokens, &mut unsafe_blocks) {
        return Vec::new();
    }
    if !PLACES.iter().any(|place| path.starts_with(place)) {
        return vec![format!("{}: has unsafe code, must have none", path.display())];
    }
    let lines: Vec<&str> = text.lines().collect();
    let unexplained = unsafe_blocks.into_iter().filter(|line| !is_explained(&lines, *line));
    unexplained.map(|line| format!("{}:{line}: has no SAFETY comment above it", path.display())).collect()
}

/// All Rust files, but those that were built.
fn sources() -> Vec<(PathBuf, String)> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_source = |entry: &walkdir::DirEntry| {
        let name = entry.file_name().to_string_lossy();
        !name.starts_with("target") && !name.starts_with('.') || entry.depth() == 0
    };
    let mut sources = Vec::new();
    for entry in walkdir::WalkDir::new(repository).into_iter().filter_entry(is_source) {
        let entry = entry.expect("the folder is readable");
        if entry.path().extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(entry.path()).expect("the file is readable");
            sources.push((entry.path().strip_prefix(repository).expect("it lies there").to_path_buf(), text));
        }
    }
    sources
}

#[test]
fn unsafe_code_is_where_it_belongs_and_says_why_it_holds() {
    let sources = sources();
    assert!(
        sources.iter().any(|(path, _)| path.starts_with("kernels/src/aarch64")),
        "{} files",
        sources.len()
    );
    let problems: Vec<String> = sources.iter().flat_map(|(path, text)| problems(path, text)).collect();
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn what_is_wrong_is_found() {
    let count = |path: &str, text: &str| problems(Path::new(path), text).len();
    let good = "// SAFETY: it is.\nlet x = unsafe { f() };";
    assert_eq!(count("kernels/src/x.rs", &format!("fn g() {{\n{good}\n}}")), 0);
    assert_eq!(count("src/x.rs", &format!("fn g() {{\n{good}\n}}")), 1);
    assert_eq!(count("src/x.rs", "// unsafe { f() }\nfn unsafe_code() { \"unsafe { }\"; }"), 0);
    for bad in [
        "fn g() { unsafe { f() } }",
        "fn g() {\n// SAFETY: it is.\nlet x = unsafe { f() };\nlet y = unsafe { f() };\n}",
        "fn g() {\n// It is.\nunsafe { f() }\n}",
        "unsafe impl Send for X {}",
        "macro_rules! m { () => { unsafe { f() } } }",
    ] {
        assert_eq!(count("kernels/src/x.rs", bad), 1, "{bad}");
    }
    let all = format!(
        "// SAFETY: it is.\n{FOR_ALL}\nimpl X {{\nfn g() {{ unsafe {{ f() }} }}\nfn h() {{ unsafe {{ f() }} }}\n}}"
    );
    assert_eq!(count("kernels/src/x.rs", &all), 0);
    assert_eq!(count("kernels/src/x.rs", &format!("{all}\nfn g() {{ unsafe {{ f() }} }}")), 1);
    assert_eq!(count("kernels/src/x.rs", &all.replace("SAFETY", "Note")), 2);
    // A function says in its documentation what its callers promise.
    assert_eq!(count("kernels/src/x.rs", "unsafe fn f() {}\nunsafe extern \"C\" { fn g(); }"), 0);
}
