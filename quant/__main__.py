"""``python -m quant``: quantize a model, rewrite its weights, show results, measure time and memory."""

from collections.abc import Sequence

from hw.cli import Command, run, run_command

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "quantize": Command(
        "quantize a model's decoder linears, with its perplexity before and after",
        "quant.command:add_quantize",
        "--model smollm2-135m --method pt-bitnet",
    ),
    "integer": Command(
        "run a quantized model in integers alone, embedding to greedy token: text, and perplexity with --text",
        "quant.token.command:add_integer",
        "smollm2-135m --text wiki.test.raw --windows 16",
    ),
    "program": Command(
        "compile a quantized model to a memory image and a program for a whole-token machine",
        "quant.token.program_command:add_program",
        "stories260K.bin --array 16x16 --check 20",
    ),
    "host": Command(
        "run a model, a product or the self-test on a board behind a serial port",
        "quant.token.host_command:add_host",
        "--port /dev/ttyUSB0 --whole build/programs/stories260K-16x16 --prompt Once",
    ),
    "kv": Command(
        "measure perplexity over K and V in digits, int8 and rivals' formats, on float weights and finished runs",
        "quant.results.kv_command:add_kv",
        "smollm2-135m --text wiki.test.raw --windows 8 --kv digits:4/3,rotate --kv kivi:2",
    ),
    "evaluate": Command(
        "measure a model or a finished run on tasks, through lm-eval, and the perplexity of texts",
        "quant.evaluation.command:add_evaluate",
        "build/models/smollm2-135m/RUN --tasks last_words,copy_words --shots 3",
    ),
    "vocabulary": Command(
        "put embedding and head into ternary digits, or cut the vocabulary, trained beside a float body, and measure",
        "quant.vocabulary.command:add_vocabulary",
        "smollm2-135m --digits 1 --text wiki.test.raw --device cuda",
    ),
    "rewrite": Command(
        "write other weights with the same function, rotated or balanced, to be quantized",
        "quant.rewrite.command:add_rewrite",
        "smollm2-135m --out smollm2-135m-rotated --rotate 0",
    ),
    "export": Command(
        "write a finished run as a Hugging Face directory or a .gguf file",
        "quant.exports.command:add_export",
        "build/models/smollm2-135m/RUN --format hf --out smollm2-ternary",
    ),
    "check-export": Command(
        "compare a run with its exported file in the runtime that it is for: greedy tokens and perplexity",
        "quant.exports.command:add_check_export",
        "build/models/smollm2-135m/RUN --format gguf-f16",
    ),
    "task": Command(
        "tune the rows of a finished run to a text, trits frozen: a task vector of 2 bytes per row",
        "quant.tasks.command:add_task",
        "build/models/smollm2-135m/RUN --calib law.txt --out law.safetensors",
    ),
    "swap": Command(
        "write a finished run with another task vector on the same trits, measured and recorded",
        "quant.tasks.command:add_swap",
        "build/models/smollm2-135m/RUN law.safetensors --out build/law",
    ),
    "results": Command(
        "print the table of committed results, or add a finished run to it", "quant.results.command:add_results", ""
    ),
    "bench": Command(
        "measure time and memory of quantization at a model's dimensions, on random weights",
        "quant.results.command:add_bench",
        "--model llama2-7b --blocks 4 --device cuda",
    ),
    "extras": Command(
        "print the extra (of pyproject.toml) that a model needs, if any",
        "quant.command:add_extras",
        "--model smollm2-135m",
    ),
}


def main(arguments: Sequence[str]) -> None:
    """Run one command."""
    run_command("python -m quant", "Post-training quantization to ternary weights.", COMMANDS, arguments)


if __name__ == "__main__":
    run(main)
