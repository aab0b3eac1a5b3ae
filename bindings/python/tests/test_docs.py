"""The examples of docstrings and of the README, signatures, and `python -m qgemm`."""

import doctest
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import qgemm


def documented():
    yield "qgemm", qgemm
    for name in qgemm.__all__:
        thing = getattr(qgemm, name)
        yield name, thing
        if isinstance(thing, type):
            for member in vars(thing):
                if not member.startswith("_"):
                    yield f"{name}.{member}", getattr(thing, member)


@pytest.mark.parametrize(("name", "thing"), list(documented()))
def test_docstrings(name, thing):
    assert thing.__doc__, f"{name} has no docstring"
    test = doctest.DocTestParser().get_doctest(thing.__doc__, {}, name, None, 0)
    report = []
    with np.printoptions(legacy=False):
        doctest.DocTestRunner().run(test, out=report.append)
    assert not report, "".join(report)
    is_value = name == "qgemm" or isinstance(thing, (type(qgemm.PackedB.k), property))
    if not is_value and name not in ("info", "release_thread_memory") and not isinstance(thing, type):
        assert thing.__text_signature__


def test_the_readme():
    readme = pathlib.Path(__file__).parent.parent / "README.md"
    result = doctest.testfile(str(readme), module_relative=False)
    assert result.attempted >= 5 and result.failed == 0


def test_the_package_is_typed():
    package = pathlib.Path(qgemm.__file__).parent
    assert (package / "py.typed").exists() and (package / "__init__.pyi").exists()


def test_info_as_a_command():
    run = lambda *more: subprocess.run(  # noqa: E731
        [sys.executable, "-m", "qgemm", *more], capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(run("--json")) == qgemm.info()
    text = run()
    assert qgemm.__version__ in text and all(name in text for name in qgemm.info()["chosen"])
