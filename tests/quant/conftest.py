"""Fixtures: a tiny LLaMA on disk, SmolLM2-135M from its wheel, llama2.c models beside the repository.

What needs torch imports it, so that the tests that do not stay quick.
"""

import sys
from pathlib import Path

import pytest

from hw.errors import InputError
from quant.source import located, resolve


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    if torch := sys.modules.get("torch"):  # a test that needs it has imported it by now
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    from tests.quant.tiny import save_tiny_llama

    return save_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture
def tiny(tiny_folder):
    """Loaded anew for each test, which may replace its weights."""
    from quant.llama.loading import load_model

    return load_model(resolve(str(tiny_folder)))


@pytest.fixture(scope="session")
def tiny_text(tmp_path_factory):
    from tests.quant.tiny import TEXT

    path = tmp_path_factory.mktemp("texts") / "words.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="session")
def smollm2():
    source = resolve("smollm2-135m")
    try:
        located(source)
    except InputError as error:
        pytest.skip(str(error))
    from quant.llama.loading import load_model

    return load_model(source)


@pytest.fixture(scope="session")
def stories():
    """A real model of 260 K parameters, and a text of its kind."""
    folder = Path(__file__).parents[3] / "shared" / "data" / "models"
    if not (folder / "stories260K.bin").is_file():
        pytest.skip("stories260K.bin is not beside the repository")
    return folder
