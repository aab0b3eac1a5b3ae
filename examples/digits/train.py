"""Train the digit classifier that the quantized example runs.

Trains a multilayer perceptron (64 -> 128 -> 128 -> 10, ReLU) in float on the
1,797 handwritten digits that ship inside scikit-learn, and writes the images,
labels, weights and biases to data/ next to this script as .npy files. The
images are stored in a fixed shuffled order: the first 898 are the training
half, the other 899 are held out and are never seen in training. At the end it
reads the files back and prints the float accuracy on both halves.

To set up and run (it takes a few seconds):

    python3 -m venv venv && venv/bin/pip install scikit-learn numpy
    venv/bin/python train.py
"""

import os
from pathlib import Path

# One BLAS thread, so that sums are always added up in the same order.
# This has to be set before numpy is loaded.
for var in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[var] = "1"

import numpy as np
from sklearn.datasets import load_digits

DATA = Path(__file__).resolve().parent / "data"
SIZES = [64, 128, 128, 10]
N_TRAIN = 898
EPOCHS = 150
BATCH = 64
LEARNING_RATE = 2e-3  # peak; falls to zero along a half cosine
WEIGHT_DECAY = 0.1  # decoupled (AdamW), weights only; keeps weights small
SHIFT_SHARE = 0.2  # share of each batch that is moved by up to a pixel


def forward(params, x):
    """Return the input of every layer, and the logits."""
    inputs = []
    for i, (w, b) in enumerate(params):
        inputs.append(x)
        x = x @ w + b
        if i < len(params) - 1:
            x = np.maximum(x, 0)
    return inputs, x


def gradients(params, x, y):
    """Gradients of the mean softmax cross-entropy, in the shape of params."""
    inputs, logits = forward(params, x)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    delta = p / np.float32(len(y))
    grads = []
    for (w, _), a in zip(reversed(params), reversed(inputs)):
        grads.append((a.T @ delta, delta.sum(axis=0)))
        delta = (delta @ w.T) * (a > 0)  # unused after the first layer
    return grads[::-1]


def shift_some(x, rng):
    """Move about a fifth of the 8x8 images by -1, 0 or +1 pixels each way."""
    n = len(x)
    moved = rng.random_sample(n) < SHIFT_SHARE
    down, right = (np.where(moved, rng.randint(-1, 2, n), 0) for _ in range(2))
    padded = np.pad(x.reshape(n, 8, 8), ((0, 0), (1, 1), (1, 1)))
    image = np.arange(n)[:, None, None]
    row = (1 - down)[:, None, None] + np.arange(8)[:, None]
    col = (1 - right)[:, None, None] + np.arange(8)
    return padded[image, row, col].reshape(n, 64)


def train(x, y, rng):
    """Train with AdamW on batches in which some images are shifted."""
    params = [
        (
            (rng.standard_normal((k, n)) * np.sqrt(2 / k)).astype(np.float32),
            np.zeros(n, np.float32),
        )
        for k, n in zip(SIZES, SIZES[1:])
    ]
    m = [[np.zeros_like(t) for t in layer] for layer in params]
    v = [[np.zeros_like(t) for t in layer] for layer in params]
    steps = EPOCHS * -(-len(x) // BATCH)
    step = 0
    for _ in range(EPOCHS):
        order = rng.permutation(len(x))
        for start in range(0, len(x), BATCH):
            batch = order[start : start + BATCH]
            grads = gradients(params, shift_some(x[batch], rng), y[batch])
            lr = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
            step += 1
            for i, layer in enumerate(params):
                for j, t in enumerate(layer):
                    m[i][j] += 0.1 * (grads[i][j] - m[i][j])
                    v[i][j] += 0.001 * (grads[i][j] ** 2 - v[i][j])
                    m_hat = m[i][j] / (1 - 0.9**step)
                    v_hat = v[i][j] / (1 - 0.999**step)
                    if t.ndim == 2:
                        t *= 1 - lr * WEIGHT_DECAY
                    t -= lr * m_hat / (np.sqrt(v_hat) + 1e-8)
    return params


def save(name, array, dtype):
    np.save(DATA / f"{name}.npy", np.ascontiguousarray(array, dtype=dtype))


def main():
    # RandomState rather than default_rng: numpy keeps its stream unchanged
    # from version to version, so the image order is the same everywhere.
    digits = load_digits()
    order = np.random.RandomState(0).permutation(len(digits.target))
    images = digits.data[order]  # integers 0..16 held as float
    labels = digits.target[order]

    x = (images[:N_TRAIN] / 16).astype(np.float32)
    params = train(x, labels[:N_TRAIN], np.random.RandomState(1))

    DATA.mkdir(exist_ok=True)
    save("images", images, "u1")
    save("labels", labels, "u1")
    for i, (w, b) in enumerate(params, start=1):
        save(f"w{i}", w, "<f4")
        save(f"b{i}", b, "<f4")

    # Score what is on disk, not what is in memory.
    def load(name):
        return np.load(DATA / f"{name}.npy")

    x = load("images").astype(np.float32) / 16
    y = load("labels")
    params = [(load(f"w{i}"), load(f"b{i}")) for i in (1, 2, 3)]
    correct = forward(params, x)[1].argmax(axis=1) == y
    for name, half in (("training", correct[:N_TRAIN]), ("held-out", correct[N_TRAIN:])):
        print(f"{name}: {half.sum()} of {len(half)} correct ({100 * half.mean():.2f} %)")


if __name__ == "__main__":
    main()
