//! The header is that which cbindgen makes of the sources. `QGEMM_WRITE_HEADER=1 cargo test -p qgemm-c --test header`
//! writes it.

use std::path::Path;

#[test]
fn the_header_is_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).unwrap();
    // The files in the order in which the header is read.
    let files = [
        "status",
        "matrix",
        "threads",
        "weights",
        "groupwise",
        "formats",
        "saved",
        "quantize",
        "stage",
        "product",
        "run",
        "version",
    ];
    let mut builder = cbindgen::Builder::new().with_config(config);
    for file in files {
        builder = builder.with_src(folder.join("src").join(file).with_extension("rs"));
    }
    let mut made = Vec::new();
    builder.generate().unwrap().write(&mut made);
    let made = String::from_utf8(made).unwrap().replace("// # Safety\n", "// The caller promises:\n");
    let path = folder.join("include/qgemm.h");
    if std::env::var_os("QGEMM_WRITE_HEADER").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(made == committed, "qgemm.h is stale: run with QGEMM_WRITE_HEADER=1");
}
