//! The model as a whole: tests that need its file.

use qgemm::Dispatch;
use qgemm_smollm::digest::LogitsDigest;
use qgemm_smollm::gguf::GgufFile;
use qgemm_smollm::model::Model;
use qgemm_smollm::options::default_model;
use qgemm_smollm::session::{Logits, Session};
use qgemm_smollm::tokenizer;
use std::sync::LazyLock;

/// A text of 170 tokens or so: more than are computed together.
const TEXT: &str = "The sum of two numbers does not depend on their order, but the sum of three floating-point numbers \
    depends on which two are added first. A matrix product adds thousands of them, and each library, each instruction \
    set and each number of threads adds them in another order. So the same model answers differently on another \
    computer, and even on the same one when another request is computed beside it. Here each sum has one order: \
    1, 2, 3 and so on up to 576.\n\n    fn main() { println!(\"{}\", 0.1 + 0.2 == 0.3); }\n\nÜber 3,5 Mio. Wörter; \
    日本語も。 It's what they'd say, isn't it?  Yes.\n";

fn open() -> GgufFile {
    GgufFile::open(&default_model()).expect("run examples/smollm/fetch.sh first: it fetches the model")
}

static MODEL: LazyLock<Model> = LazyLock::new(|| Model::read(&mut open()).expect("it is the model"));

fn tokens() -> Vec<u32> {
    tokenizer::encode(&tokenizer::read(&open()).unwrap(), TEXT).unwrap()
}

/// The bits of the logits of all tokens, which are given in pieces of so many.
fn logits(model: &Model, tokens: &[u32], piece: usize, threads: usize) -> LogitsDigest {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let mut digest = LogitsDigest::default();
    let mut session = Session::new(model, tokens.len());
    pool.install(|| {
        for piece in tokens.chunks(piece) {
            session.forward(piece, Logits::All, |logits| digest.add(logits)).unwrap();
        }
    });
    assert_eq!(digest.vectors(), tokens.len());
    digest
}

#[test]
#[ignore = "needs the model: run fetch.sh, then `cargo test -- --include-ignored`"]
fn logits_do_not_depend_on_the_batch() {
    let tokens = tokens();
    assert!(tokens.len() > 130, "{} tokens", tokens.len());
    let all = logits(&MODEL, &tokens, tokens.len(), 1).hex();
    for (piece, threads) in [(1, 1), (5, 1), (64, 1), (tokens.len(), 2), (33, 3)] {
        let got = logits(&MODEL, &tokens, piece, threads).hex();
        assert_eq!(got, all, "{piece} tokens together, {threads} threads");
    }
}

#[test]
#[ignore = "needs the model: run fetch.sh, then `cargo test -- --include-ignored`"]
fn logits_do_not_depend_on_the_kernel() {
    let tokens = &tokens()[..40];
    let best = logits(&MODEL, tokens, tokens.len(), 1).hex();
    let mut model = Model::read(&mut open()).unwrap();
    for name in Dispatch::available_groupwise() {
        model = model.with_dispatch(&Dispatch::named(name).unwrap());
        assert_eq!(logits(&model, tokens, tokens.len(), 1).hex(), best, "{}", model.embedding.kernel_name());
    }
}

#[test]
#[ignore = "needs the model: run fetch.sh, then `cargo test -- --include-ignored`"]
fn a_session_that_was_cleared_is_as_a_new_one() {
    let tokens = &tokens()[..20];
    let mut session = Session::new(&MODEL, 64);
    let mut run = |tokens: &[u32]| {
        let mut digest = LogitsDigest::default();
        session.clear();
        session.forward(tokens, Logits::Last, |logits| digest.add(logits)).unwrap();
        digest.hex()
    };
    let first = run(tokens);
    run(&tokens[5..]);
    assert_eq!(run(tokens), first);
}

#[test]
#[ignore = "needs the model: run fetch.sh, then `cargo test -- --include-ignored`"]
fn wrong_tokens_are_refused() {
    let mut session = Session::new(&MODEL, 2);
    let error = session.forward(&[49_152], Logits::Last, |_| ()).unwrap_err().to_string();
    assert!(error.contains("49152"), "{error}");
    let error = session.forward(&[1; 3], Logits::Last, |_| ()).unwrap_err().to_string();
    assert!(error.contains("room for 2"), "{error}");
    session.forward(&[1; 2], Logits::Last, |logits| assert_eq!(logits.len(), 49_152)).unwrap();
}

#[test]
#[ignore = "needs the model: run fetch.sh, then `cargo test -- --include-ignored`"]
fn embeddings_are_those_of_the_file() {
    let mut blocks = Vec::new();
    open().blocks("token_embd.weight", (49_152, 576), &mut blocks).unwrap();
    let mut out = [0.0; 576];
    for token in [0, 1, 31, 32, 49_151] {
        MODEL.embed(token, &mut out).unwrap();
        for (i, got) in out.iter().enumerate() {
            let block = &blocks[(token as usize * 18 + i / 32) * 34..][..34];
            let scale = qgemm::half::f16::from_le_bytes([block[0], block[1]]).to_f32();
            assert_eq!(*got, scale * f32::from(block[2 + i % 32] as i8), "token {token}, value {i}");
        }
    }
}

#[test]
#[ignore = "needs the model: run fetch.sh, then `cargo test -- --include-ignored`"]
fn texts_survive_the_tokenizer() {
    let tokenizer = tokenizer::read(&open()).unwrap();
    for text in
        [TEXT, "", " ", "a", "\n\n\t x  y ", "2024-11-29", "<|im_start|>user\nhi<|im_end|>\n", "🦀 ≠ ß"]
    {
        let ids = tokenizer::encode(&tokenizer, text).unwrap();
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
    }
}

/// The ids that llama.cpp gives (`llama-cpp-python` 0.3.36, 2026-11-29).
#[test]
#[ignore = "needs the model: run fetch.sh, then `cargo test -- --include-ignored`"]
fn tokens_are_those_of_llama_cpp() {
    let tokenizer = tokenizer::read(&open()).unwrap();
    let cases: [(&str, &[u32]); 6] = [
        (
            "2024-11-29 is 1,234.5",
            &[34, 32, 34, 36, 29, 33, 33, 29, 34, 41, 314, 216, 33, 28, 34, 35, 36, 30, 37],
        ),
        (
            "It's what they'd say, isn't it?  Yes.\n",
            &[1589, 506, 732, 502, 6737, 1643, 28, 3247, 982, 357, 47, 216, 9230, 30, 198],
        ),
        ("a\u{a0}b ½ ² ٣ Ⅷ", &[81, 15442, 82, 216, 16738, 216, 19133, 216, 164, 113, 216, 173, 223, 117]),
        ("🦀 ≠ ß", &[10813, 116, 218, 21004, 250, 5549, 249]),
        ("\n\n\t x  y ", &[14436, 1792, 216, 329, 216]),
        ("<|im_start|>user\nhi<|im_end|>\n", &[1, 4093, 198, 6004, 2, 198]),
    ];
    for (text, ids) in cases {
        assert_eq!(tokenizer::encode(&tokenizer, text).unwrap(), ids, "{text:?}");
    }
}

/// The digest that every CPU gives: kernels from scalar code to AVX-512 VNNI, and the f32 code with vectors of 4, 8 and 16.
#[test]
#[ignore = "needs the model: run fetch.sh, then `cargo test -- --include-ignored`"]
fn logits_are_those_of_every_cpu() {
    let tokens = &tokens()[..40];
    assert_eq!(
        logits(&MODEL, tokens, tokens.len(), 2).hex(),
        "3d5e9f2f8ab23e7b3e6942fb8c4c12426a56e900153ad03931b056f446b11cc2"
    );
}
