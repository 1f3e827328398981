"""Run PyLate's own tests on `serotine.integrations.pylate`: ``python tests/helpers/pylate_runner.py CHECKOUT``.

CHECKOUT is a clone of github.com/lightonai/pylate (MIT), which is not part of this repository. Its test files run with
pytest in a temporary folder, with their import lines changed. Its models are replaced by random ones of the same
architecture (except all-MiniLM-L6-v2) and its data by a few sentences; ``--hub`` downloads the real ones instead.
Tests that need the hub are listed below with the reason, and counted as skipped. Needs the libraries of this
repository's tests.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[1]
# Tests that need the real models: reasons by regular expression over test ids.
WITHOUT_HUB = {
    r"test_model\.py": "compares with scores of published models",
    r"test_model_loading\.py": "compares with settings of published models",
}
WITH_HUB = {
    r"test_model\.py": "uses a model that is a pickle, which is refused",
    r"test_model_loading\.py": "uses models that are pickles, which are refused",
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
    """Rewrite the tests, run them, and return the exit status of pytest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a clone of PyLate")
    parser.add_argument("--hub", action="store_true", help="use the real models and data")
    arguments = parser.parse_args()
    files = sorted((arguments.checkout / "tests").glob("test_*.py"))
    if not files:
        parser.error(f"{arguments.checkout}: has no tests/test_*.py; name a clone of PyLate")
    exceptions = WITH_HUB if arguments.hub else WITHOUT_HUB
    with tempfile.TemporaryDirectory(prefix="pylate-tests-") as scratch:
        folder = Path(scratch) / "tests"
        folder.mkdir()
        for file in files:
            source = re.sub(r"\bfrom pylate\b", "from serotine.integrations.pylate", file.read_text("utf-8"))
            # The package scann is not needed here.
            source = source.replace('pytest.importorskip("scann")\n', "")
            (folder / file.name).write_text(source, "utf-8")
        conftest = CONFTEST.format(tests=str(TESTS), exceptions=exceptions, hub=arguments.hub)
        (folder / "conftest.py").write_text(conftest, "utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-c", "/dev/null", "tests"]
        return subprocess.run(command, cwd=scratch).returncode


if __name__ == "__main__":
    sys.exit(main())
