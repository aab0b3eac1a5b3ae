"""all-MiniLM-L6-v2: a BERT of 6 layers whose mean output, normalized, is the embedding of a sentence."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import qgemm

import weights
from linear import FloatLinear, Form, Linear
from weights import Floats

LAYERS, HEADS, WIDTH = 6, 12, 384
EPSILON = np.float32(1e-12)

Integers = npt.NDArray[np.int64]
Batch = tuple[Integers, Integers, Integers]


def batches(sentences: Sequence[str], size: int) -> list[Batch]:
    """Batches of sentences of like length: (places, ids, lengths), where ids has a row per sentence, padded with 0, and
    places are the numbers of the sentences in the order given."""
    tokens = [encoding.ids for encoding in weights.tokenizer().encode_batch(list(sentences))]
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
    made = []
    for start in range(0, len(order), size):
        places = order[start : start + size]
        lengths = np.array([len(tokens[i]) for i in places])
        ids = np.zeros((len(places), lengths.max()), np.int64)
        for row, i in zip(ids, places):
            row[: len(tokens[i])] = tokens[i]
        made.append((np.array(places), ids, lengths))
    return made


class Norm:
    """Layer normalization, in place: rows of x get mean 0 and variance 1, then a factor and a term per column."""

    def __init__(self, name: str):
        self.factor, self.term = weights.tensor(name + ".weight"), weights.tensor(name + ".bias")

    def __call__(self, x: Floats) -> Floats:
        # einsum adds the values of each row in one order, however many rows there are; a product by BLAS does not.
        x -= (np.einsum("ij->i", x) / np.float32(x.shape[1]))[:, None]
        variance = np.einsum("ij,ij->i", x, x) / np.float32(x.shape[1])
        x *= (1 / np.sqrt(variance + EPSILON))[:, None]
        x *= self.factor
        x += self.term
        return x


class Embeddings:
    """The vector of each token: those of its word, its place and the text's type, added and normalized. With quantized
    layers the words' vectors are kept in 8 bits too, with a scale each."""

    def __init__(self, quantized: bool):
        words = "embeddings.word_embeddings.weight"
        self.scales: Floats | None = None
        if quantized:
            parts = [qgemm.quantize_rows(part) for part in weights.rows(words)]
            self.words = np.concatenate([q for q, _ in parts])
            self.scales = np.concatenate([scale for _, scale in parts])
        else:
            self.words = weights.tensor(words)
        types = weights.tensor("embeddings.token_type_embeddings.weight")
        self.places = weights.tensor("embeddings.position_embeddings.weight")[: weights.TOKENS] + types[0]
        self.norm = Norm("embeddings.LayerNorm")

    def __call__(self, ids: Integers) -> Floats:
        """(sentences * tokens) x WIDTH values for ids of sentences x tokens."""
        x = self.words[ids].astype(np.float32)
        if self.scales is not None:
            x *= self.scales[ids][..., None]
        x += self.places[: ids.shape[1]]
        return self.norm(x.reshape(-1, WIDTH))


def linear(form: Form, names: Sequence[str], factors: Sequence[float] = ()) -> Linear:
    """One layer for the layers of these names, whose outputs lie side by side, each multiplied by a factor."""
    scaled = [np.float32(factor) for factor in factors or [1] * len(names)]
    w = np.concatenate([weights.tensor(name + ".weight").T * f for name, f in zip(names, scaled)], axis=1)
    bias = np.concatenate([weights.tensor(name + ".bias") * f for name, f in zip(names, scaled)])
    return form(w, bias)


class Layer:
    """Attention, then two linear layers, each with a sum with its input and a norm."""

    def __init__(self, form: Form, number: int):
        name = f"encoder.layer.{number}."
        parts = [f"{name}attention.self.{part}" for part in ("query", "key", "value")]
        # The scores' factor is part of the queries' weights.
        self.qkv = linear(form, parts, [(WIDTH / HEADS) ** -0.5, 1, 1])
        self.attended = linear(form, [name + "attention.output.dense"])
        self.wide = linear(form, [name + "intermediate.dense"])
        self.narrow = linear(form, [name + "output.dense"])
        self.norms = Norm(name + "attention.output.LayerNorm"), Norm(name + "output.LayerNorm")

    def __call__(self, x: Floats, mask: Floats, threads: int) -> Floats:
        """x is (sentences * tokens) x WIDTH, mask sentences x 1 x tokens x 1: 0, or -inf for padding."""
        sentences, tokens = mask.shape[0], mask.shape[2]
        qkv = self.qkv(x, threads=threads).reshape(sentences, tokens, 3, HEADS, WIDTH // HEADS)
        queries, keys, values = qkv.transpose(2, 0, 3, 1, 4)
        # Queries are the last axis: NumPy is slow at the maxima of many short rows.
        scores = keys @ queries.swapaxes(2, 3)
        scores += mask
        scores -= scores.max(axis=2, keepdims=True)
        np.exp(scores, out=scores)
        scores /= np.einsum("shkq->shq", scores)[:, :, None]
        context = np.empty((sentences, tokens, HEADS, WIDTH // HEADS), np.float32)
        np.matmul(scores.swapaxes(2, 3), values, out=context.swapaxes(1, 2))
        x = self.norms[0](self.attended(context.reshape(x.shape), residual=x, threads=threads))
        return self.norms[1](self.narrow(self.wide(x, activation="gelu", threads=threads), residual=x, threads=threads))


class Encoder:
    """The model."""

    def __init__(self, embeddings: Embeddings, layers: Sequence[Layer], threads: int = 1):
        self.embeddings, self.layers, self.threads = embeddings, layers, threads
        self.pool = ThreadPoolExecutor(threads)

    def part(self, ids: Integers, lengths: Integers, threads: int) -> Floats:
        """The embeddings of some sentences, computed by the calling thread but for products, which may have more."""
        real = np.arange(ids.shape[1]) < lengths[:, None]
        mask = np.where(real, np.float32(0), np.float32(-np.inf))[:, None, :, None]
        x = self.embeddings(ids)
        for layer in self.layers:
            x = layer(x, mask, threads)
        x = x.reshape(*ids.shape, WIDTH)
        x *= real[..., None]
        mean = x.sum(axis=1) / lengths[:, None].astype(np.float32)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

    def embed(self, ids: Integers, lengths: Integers) -> Floats:
        """The embeddings of a batch, sentences x WIDTH. Threads share its sentences, as NumPy uses one thread for most of
        what is no product. No result depends on that: rows of a product have scales of their own."""
        parts = min(self.threads, len(lengths))
        each = self.threads // parts
        if parts == 1:
            return self.part(ids, lengths, each)
        cut = np.array_split(ids, parts), np.array_split(lengths, parts), [each] * parts
        return np.concatenate(list(self.pool.map(self.part, *cut)))

    def embed_all(self, made: list[Batch]) -> Floats:
        """The embeddings of all sentences, in the order in which they were given to `batches`."""
        out = np.empty((sum(len(places) for places, _, _ in made), WIDTH), np.float32)
        for places, ids, lengths in made:
            out[places] = self.embed(ids, lengths)
        return out


def load(form: Form, threads: int = 1) -> Encoder:
    """The model with all linear layers of its 6 layers in one form."""
    embeddings = Embeddings(quantized=form is not FloatLinear)
    return Encoder(embeddings, [Layer(form, number) for number in range(LAYERS)], threads)
