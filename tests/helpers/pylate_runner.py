"""PyLate's own test files against `serotine.integrations.pylate`: ``python tests/helpers/pylate_runner.py CHECKOUT``.

CHECKOUT is a clone of github.com/lightonai/pylate (MIT), which this repository does not hold. Its test files are read,
their import lines changed, and run with pytest in a folder of their own. Where no hub can be reached, its models are
stood in for by others of the same architecture (all-MiniLM-L6-v2 by itself) and its data by a few sentences; ``--hub``
leaves both as they are. Tests that cannot pass are listed below with the reason, and counted. Needs what the tests of
this repository need.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parents[1]
# By node, as a regular expression: why it does not pass.
EXCEPTIONS = {
    r"test_scann\.py": "ScaNN's index: there is one index here",
    r"test_xtr_": "XTR's scoring over a token index, which this engine does not have",
    r"test_retriever\.py::test_voyager_index": "Voyager's index: there is one index here",
}
# What cannot pass without the real models.
WITHOUT_HUB = {
    r"test_model\.py": "compares with the scores of published models",
    r"test_model_loading\.py": "compares with the settings of published models",
}
WITH_HUB = {
    r"test_model\.py": "one of its models is a pickle, which is refused",
    r"test_model_loading\.py": "two of its models are pickles, which are refused; base_model_revision is not noted",
}
CONFTEST = """
import sys
import warnings

import pytest

sys.path.insert(0, {tests!r})
warnings.filterwarnings("ignore")
EXCEPTIONS = {exceptions!r}


def pytest_collection_modifyitems(config, items):
    import re

    for item in items:
        for pattern, reason in EXCEPTIONS.items():
            if re.search(pattern, item.nodeid):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_configure(config):
    config.addinivalue_line("markers", "flaky: of a plugin")
    config.addinivalue_line("markers", "model_loading: slow")
    if {hub!r}:
        return
    import datasets
    from serotine.encoders.location import Location
    from serotine.integrations.pylate import checkpoint
    from helpers import pylate_stand_ins

    locate = checkpoint.locate
    checkpoint.locate = lambda name, **options: pylate_stand_ins.model(name) or locate(name, **options)
    datasets.load_dataset = pylate_stand_ins.dataset
"""


def main() -> int:
    """Rewrites, runs, and says how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a clone of PyLate")
    parser.add_argument("--hub", action="store_true", help="use the real models and data")
    chosen = parser.parse_args()
    files = sorted((chosen.checkout / "tests").glob("test_*.py"))
    if not files:
        parser.error(f"{chosen.checkout}: holds no tests/test_*.py; give a clone of PyLate")
    exceptions = EXCEPTIONS | (WITH_HUB if chosen.hub else WITHOUT_HUB)
    with tempfile.TemporaryDirectory(prefix="pylate-tests-") as place:
        folder = Path(place) / "tests"
        folder.mkdir()
        for file in files:
            source = re.sub(r"\bfrom pylate\b", "from serotine.integrations.pylate", file.read_text("utf-8"))
            # Modules that are not here would stop the collection of tests that are skipped anyway.
            if any(re.search(pattern, f"{file.name}::") for pattern in EXCEPTIONS):
                source = f"import pytest\n\n\ndef test_all():\n    pytest.skip({exceptions_of(file.name)!r})\n"
            (folder / file.name).write_text(source, "utf-8")
        conftest = CONFTEST.format(tests=str(HERE), exceptions=exceptions, hub=chosen.hub)
        (folder / "conftest.py").write_text(conftest, "utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-c", "/dev/null", "tests"]
        return subprocess.run(command, cwd=place).returncode


def exceptions_of(name: str) -> str:
    """Why a whole file is left out."""
    return next(reason for pattern, reason in EXCEPTIONS.items() if re.search(pattern, f"{name}::"))


if __name__ == "__main__":
    sys.exit(main())
