"""An exported .gguf file run by stock llama.cpp, by the package ``xllamacpp``: the judge of what was written."""

import json
import multiprocessing
from collections.abc import Sequence
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.request import Request, urlopen

from hw.errors import InputError
from hw.progress import CountReport

__all__ = ["LlamaCpp"]

_FORCED = 1000.0  # added to a logit so that its token is drawn; the probability that is told is without it


class LlamaCpp:
    """A model in llama.cpp on the CPU, in a process of its own: its library aborts beside some others."""

    def __init__(self, path: Path, context: int, vocabulary: int, plain: int, threads: int = 1) -> None:
        """Load it.

        ``context``: most tokens of a prompt and its continuation; ``vocabulary``: tokens in all; ``plain``: one of them
        that stands for whole characters.

        Raises:
            InputError: the package is missing, or llama.cpp refuses the file.
        """
        if find_spec("xllamacpp") is None:
            raise InputError("checking a .gguf file needs llama.cpp: pip install 'tritforge[runtimes]'")
        spawn = multiprocessing.get_context("spawn")
        self._line, there = spawn.Pipe()
        arguments = (there, path, context, vocabulary, plain, threads)
        self._path, self._process = path, spawn.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        there.close()
        self._answer()

    def tokens(self, text: str) -> list[int]:
        """Token ids of a text by the file's own tokenizer, special ones before and after it included."""
        return self._ask("tokens", text)

    def continuations(self, prompts: Sequence[Sequence[int]], count: int, report: CountReport) -> list[list[int]]:
        """``greedy`` of each prompt."""
        found = []
        for number, prompt in enumerate(prompts, start=1):
            found.append(self.greedy(prompt, count))
            report(number, len(prompts))
        return found

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        """The ``count`` tokens of largest logits that follow a prompt of tokens, an end of text as any other."""
        return self._ask("greedy", list(prompt), count)

    def log_probabilities(self, tokens: Sequence[int], report: CountReport) -> list[float]:
        """Natural logarithms of the probabilities of each token but the first, after all before it."""
        found = []
        for position in range(1, len(tokens)):
            found.append(self.log_probability(tokens[:position], tokens[position]))
            report(position, len(tokens) - 1)
        return found

    def log_probability(self, prompt: Sequence[int], token: int) -> float:
        """Natural logarithm of the probability that ``token`` follows the prompt."""
        return self._ask("log_probability", list(prompt), token)

    def _ask(self, method: str, *arguments):
        self._line.send((method, arguments))
        return self._answer()

    def _answer(self):
        try:
            right, answer = self._line.recv()
        except EOFError:
            raise InputError(f"{self._path}: llama.cpp ended without an answer") from None
        if not right:
            raise InputError(answer)
        return answer


def _serve(line: Connection, path: Path, *settings: int) -> None:
    """Load the file and answer calls until the line is closed."""
    try:
        loaded = _Loaded(path, *settings)
    except InputError as error:
        line.send((False, str(error)))
        return
    line.send((True, None))
    while True:
        try:
            method, arguments = line.recv()
        except EOFError:
            return
        try:
            line.send((True, getattr(loaded, method)(*arguments)))
        except RuntimeError as error:
            line.send((False, f"{path}: {error}"))


class _Loaded:
    """The library itself; methods as of ``LlamaCpp``."""

    def __init__(self, path: Path, context: int, vocabulary: int, plain: int, threads: int) -> None:
        import xllamacpp

        settings = xllamacpp.CommonParams()
        settings.model.path = str(path)
        settings.n_ctx, settings.n_parallel, settings.n_gpu_layers = context, 1, 0
        settings.warmup, settings.verbosity = False, 0
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
        self._vocabulary, self._plain = vocabulary, plain
        try:
            self._server = xllamacpp.Server(settings)
        except Exception as error:
            raise InputError(f"{path}: llama.cpp does not load the file ({error})") from None

    def tokens(self, text: str) -> list[int]:
        request = Request(
            f"{self._server.listening_address}/tokenize",
            data=json.dumps({"content": text, "add_special": True}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urlopen(request) as answer:
            return json.load(answer)["tokens"]

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        tokens = list(prompt)
        for _ in range(count):
            (found,) = self._next(tokens, self._plain, told=1)
            tokens.append(found["top_logprobs"][0]["id"])
        return tokens[len(prompt) :]

    def log_probability(self, prompt: Sequence[int], token: int) -> float:
        if found := self._next(prompt, token, told=1):
            return found[0]["logprob"]
        # Half a character is not told of by itself: look for it among all.
        (found,) = self._next(prompt, self._plain, told=self._vocabulary)
        return next(one["logprob"] for one in found["top_logprobs"] if one["id"] == token)

    def _next(self, prompt: Sequence[int], forced: int, told: int) -> list[dict]:
        """What the server says of the token after a prompt, made to be ``forced``; ``told``: of how many best."""
        body = {
            "prompt": list(prompt),
            "n_predict": 1,
            "n_probs": told,
            "logit_bias": [[forced, _FORCED]],
            "temperature": 1.0,
            "samplers": [],
            "cache_prompt": True,
        }
        answer = self._server.handle_completions(body)
        if "choices" not in answer:
            raise RuntimeError(f"llama.cpp refuses a request: {answer}")
        found = (answer["choices"][0]["logprobs"] or {}).get("content", [])
        if found and found[0]["id"] != forced:
            raise RuntimeError(f"llama.cpp drew token {found[0]['id']}, not the forced {forced}")
        return found
