#!/usr/bin/env python3
"""Compares greedy answers with those of llama.cpp on the same file.

    python3 -m venv venv && venv/bin/pip install llama-cpp-python numpy      # builds llama.cpp: some minutes
    venv/bin/python compare.py [--tokens 200] [PROMPT ...]

For each prompt it prints
  - whether both tokenizers give the same tokens,
  - the first token at which the two answers differ, and the share of equal tokens at equal places,
  - the share of our tokens that llama.cpp would have chosen after the same tokens before ("one by one"). Where two tokens
    are nearly as likely, rounding decides, and from there on the answers are different texts; this share is not
    affected by that.
It ends with 1 if tokens of a prompt differ.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import numpy as np
from llama_cpp import Llama

HERE = pathlib.Path(__file__).resolve().parent
MODEL = HERE / "model" / "SmolLM2-135M-Instruct.Q4_1.gguf"
PROMPTS = [
    "Why is the sky blue?",
    "Write a short story about a robot who learns to paint.",
    "Explain how to make bread, step by step, with 3 tips for 2024.",
]


def ours(prompt, tokens):
    """The ids of the prompt and of the answer."""
    command = ["cargo", "run", "--quiet", "--release", "--", "--ids", "--ignore-end", "--tokens", str(tokens), "--", prompt]
    done = subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    answer = json.loads(done.stdout)
    return answer["prompt"], answer["generated"]


def greedy(llama, prompt, tokens):
    """llama.cpp's answer."""
    llama.reset()
    llama.eval(prompt)
    generated = []
    while len(generated) < tokens:
        generated.append(int(np.argmax(llama.scores[llama.n_tokens - 1])))
        llama.eval(generated[-1:])
    return generated


def one_by_one(llama, prompt, generated):
    """llama.cpp's choice of each token, after the tokens before it."""
    llama.reset()
    llama.eval(prompt + generated)
    return [int(np.argmax(llama.scores[len(prompt) - 1 + i])) for i in range(len(generated))]


def share(ours, theirs):
    return sum(a == b for a, b in zip(ours, theirs)) / len(ours)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prompts", nargs="*", default=PROMPTS, metavar="PROMPT")
    parser.add_argument("--tokens", type=int, default=200, help="tokens of each answer (200)")
    parser.add_argument("--threads", type=int, default=1, help="threads of llama.cpp (1)")
    arguments = parser.parse_args()
    if arguments.tokens < 1:
        parser.error("--tokens must be at least 1")
    failed = False
    for text in arguments.prompts:
        prompt, generated = ours(text, arguments.tokens)
        llama = Llama(
            str(MODEL),
            n_ctx=len(prompt) + len(generated) + 8,
            n_threads=arguments.threads,
            logits_all=True,
            verbose=False,
        )
        decoded = llama.detokenize(prompt, special=True)
        same = llama.tokenize(decoded, add_bos=False, special=True) == prompt
        failed |= not same
        theirs = greedy(llama, prompt, len(generated))
        first = next((i for i, (a, b) in enumerate(zip(generated, theirs)) if a != b), None)
        print(f"prompt: {text}")
        print(f"  tokens of the prompt: {len(prompt)}, {'the same' if same else 'DIFFERENT'}")
        if first is None:
            print(f"  answer: all {len(generated)} tokens are the same")
        else:
            a, b = (llama.detokenize([t[first]]).decode(errors="replace") for t in (generated, theirs))
            print(f"  answer: token {first} of {len(generated)} is the first to differ: {a!r} here, {b!r} there")
            print(f"  equal tokens at equal places: {share(generated, theirs):.1%}")
        print(f"  equal tokens one by one: {share(generated, one_by_one(llama, prompt, generated)):.1%}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
