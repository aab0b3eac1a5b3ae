//! Names the shared library for the dynamic linker: programs look for `libqgemm.so.0` when they start. It stays loaded after
//! `dlclose`, since its helpers run in it as long as the program does.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if os == "linux" {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libqgemm.so.0,-z,nodelete");
    }
}
