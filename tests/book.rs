//! The book in `docs/`: each page is listed, and its examples are tested.

use std::collections::BTreeSet;
use std::path::Path;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("the file is readable")
}

/// The names between two marks.
fn between<'t>(text: &'t str, before: &str, after: &str) -> BTreeSet<&'t str> {
    text.split(before).skip(1).filter_map(|rest| rest.split_once(after)).map(|(name, _)| name).collect()
}

#[test]
fn every_page_is_listed_and_tested() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src");
    let files = std::fs::read_dir(folder).expect("the folder is readable");
    let names = files.map(|file| file.expect("an entry").file_name().into_string().expect("a name in UTF-8"));
    let pages: BTreeSet<_> = names.filter(|name| name != "SUMMARY.md").collect();
    let pages: BTreeSet<_> = pages.iter().map(String::as_str).collect();
    assert!(pages.len() >= 9);
    assert_eq!(between(&read("docs/src/SUMMARY.md"), "](", ")"), pages);
    assert_eq!(between(&read("src/lib.rs"), "include_str!(\"../docs/src/", "\")"), pages);
}
