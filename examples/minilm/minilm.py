#!/usr/bin/env python3
"""Embeds sentences by all-MiniLM-L6-v2 on qgemm, and prints the pairs that are most similar.

    python minilm.py "Where is the station?" "How do I get to the train?" "It rained."
    python minilm.py --digest < sentences.txt
"""

import argparse
import hashlib
import itertools
import sys

import weights
from encoder import batches, load
from forms import FORMS
from linear import DigestedLinear


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sentences", nargs="*", metavar="SENTENCE", help="lines of the standard input without any")
    parser.add_argument("--form", choices=FORMS, default="int8", help="of the linear layers [default: int8]")
    parser.add_argument("--threads", type=int, default=1, help="threads [default: 1]")
    parser.add_argument("--batch", type=int, default=16, help="sentences at once [default: 16]")
    parser.add_argument("--pairs", type=int, default=10, help="most similar pairs to print [default: 10]")
    parser.add_argument(
        "--digest",
        action="store_true",
        help="prints only the sha256 of the int32 sums of all linear layers and that of the embeddings (int8)",
    )
    arguments = parser.parse_args()
    if arguments.threads < 1 or arguments.batch < 1:
        parser.error("--threads and --batch must be at least 1")
    sentences = arguments.sentences or [line.strip() for line in sys.stdin if line.strip()]
    if not sentences:
        parser.error("there are no sentences")
    weights.check()
    made = batches(sentences, arguments.batch)
    if arguments.digest:
        found = load(DigestedLinear).embed_all(made)
        print("sums", DigestedLinear.digest.hexdigest())
        print("embeddings", hashlib.sha256(found.astype("<f4", copy=False).tobytes()).hexdigest())
        if (found != FORMS["int8"](arguments.threads).embed_all(made)).any():
            sys.exit(f"the products in steps differ from dynamic_matmul with {arguments.threads} threads")
        return
    found = FORMS[arguments.form](arguments.threads).embed_all(made)
    similar = found @ found.T
    pairs = itertools.combinations(range(len(sentences)), 2)
    for i, j in sorted(pairs, key=lambda pair: -similar[pair])[: arguments.pairs]:
        print(f"{similar[i, j]:6.3f}  {sentences[i]}\n        {sentences[j]}")


if __name__ == "__main__":
    main()
