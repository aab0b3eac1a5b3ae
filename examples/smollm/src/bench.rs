//! The measurement of speed.

use crate::model::Model;
use crate::profile::{PARTS, Profile};
use crate::sampling::greatest;
use crate::session::{Logits, Session};
use anyhow::Result;
use std::time::{Duration, Instant};

/// Tokens of the prompt, and tokens generated, each from an empty cache.
const PROMPT: usize = 512;
const GENERATED: usize = 64;

/// Repetitions, after one that is not counted.
const REPEAT: usize = 5;

/// The median time of repetitions, with the parts of that run.
fn median(mut run: impl FnMut() -> Result<Profile>) -> Result<(Duration, Profile)> {
    run()?;
    let mut runs = Vec::new();
    for _ in 0..REPEAT {
        let start = Instant::now();
        let profile = run()?;
        runs.push((start.elapsed(), profile));
    }
    runs.sort_by_key(|(time, _)| *time);
    Ok(runs.swap_remove(REPEAT / 2))
}

fn print(name: &str, tokens: usize, (time, profile): &(Duration, Profile)) {
    let seconds = time.as_secs_f64();
    println!(
        "{name}: {:.1} tokens/s ({:.3} ms per token)",
        tokens as f64 / seconds,
        seconds * 1e3 / tokens as f64
    );
    let line = |name: &str, part: Duration| {
        let micros = part.as_secs_f64() * 1e6 / tokens as f64;
        println!("  {name:<15}{micros:>9.1} µs per token {:>6.1} %", 100.0 * part.as_secs_f64() / seconds);
    };
    for (part, name) in PARTS {
        line(name, profile.of(part));
    }
    line("all else", time.saturating_sub(profile.total()));
}

/// Measures a prompt of 512 tokens and the generation of 64, and prints both with the parts of their time.
///
/// # Errors
/// If a product fails.
pub fn run(model: &Model) -> Result<()> {
    // Any tokens will do: no computation depends on their values.
    let token = |i: usize| ((i * 7919 + 17) % model.config.vocabulary) as u32;
    let prompt: Vec<u32> = (0..PROMPT).map(token).collect();
    let mut session = Session::new(model, PROMPT);
    let mut measured = |run: &dyn Fn(&mut Session<'_>) -> Result<()>| {
        median(|| {
            session.clear();
            session.profile = Profile::default();
            run(&mut session)?;
            Ok(session.profile.clone())
        })
    };
    let of_prompt = measured(&|session| session.forward(&prompt, Logits::Last, |_| ()))?;
    let of_generation = measured(&|session| {
        let mut token = prompt[0];
        (0..GENERATED)
            .try_for_each(|_| session.forward(&[token], Logits::Last, |logits| token = greatest(logits)))
    })?;
    print(&format!("prompt of {PROMPT}"), PROMPT, &of_prompt);
    print(&format!("generation of {GENERATED}"), GENERATED, &of_generation);
    Ok(())
}
