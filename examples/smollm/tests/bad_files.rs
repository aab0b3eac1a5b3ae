//! Files that are no such model are refused, without a panic.

use qgemm_smollm::gguf::GgufFile;
use qgemm_smollm::model::Model;
use qgemm_smollm::tokenizer;
use std::path::PathBuf;

/// A file of these bytes, in the folder for temporary files.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A GGUF file with some texts as metadata, and no tensors.
fn gguf(metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(0u64.to_le_bytes());
    bytes.extend((metadata.len() as u64).to_le_bytes());
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    };
    for (key, value) in metadata {
        text(&mut bytes, key);
        bytes.extend(8u32.to_le_bytes());
        text(&mut bytes, value);
    }
    bytes
}

#[test]
fn files_that_are_not_gguf_are_refused() {
    let whole = gguf(&[("general.architecture", "llama")]);
    for (name, bytes) in [("empty", &b""[..]), ("text", b"no model"), ("cut", &whole[..whole.len() - 3])] {
        let error = GgufFile::open(&file(name, bytes)).err().unwrap();
        assert!(format!("{error:#}").contains("cannot be read as a GGUF file"), "{name}: {error:#}");
    }
    assert!(GgufFile::open(&PathBuf::from("no such file")).is_err());
}

#[test]
fn other_models_are_refused_by_name() {
    let cases = [
        (vec![], "'general.architecture' is missing"),
        (vec![("general.architecture", "gpt2")], "is gpt2, must be llama"),
        (
            vec![("general.architecture", "llama"), ("llama.block_count", "30")],
            "'llama.block_count' is missing or is no 32-bit integer",
        ),
    ];
    for (i, (metadata, expected)) in cases.into_iter().enumerate() {
        let mut file = GgufFile::open(&file(&format!("other{i}"), &gguf(&metadata))).unwrap();
        let error = Model::read(&mut file).err().unwrap();
        assert!(format!("{error:#}").contains(expected), "{error:#}");
        assert!(tokenizer::read(&file).is_err());
    }
}
