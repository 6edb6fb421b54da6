"""``tritforge integer``: a model that computes everything after the token id in integers."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hw.artifact import check_results_file
from hw.document import validate_document
from hw.errors import InputError
from hw.fields import add_fields, given_fields
from hw.progress import stage_bars
from quant.token.job import TokenFormat, TokenJob
from quant.token.results import TOKEN_RESULTS, TokenRow, add_token_row, read_token_results, token_markdown

__all__ = ["add_integer"]

_HALF = "\ufffd"  # what the bytes of an unfinished character decode to


def add_integer(parser: ArgumentParser) -> None:
    """Options of ``integer``."""
    fields = TokenJob.model_fields
    parser.add_argument("model", metavar="MODEL", help=fields["model"].description)
    add_fields(parser, TokenJob, leave_out=["model", "form", "prompt_ids"])
    parser.add_argument("--prompt-ids", dest="ids", metavar="ID,ID", help=fields["prompt_ids"].description)
    add_fields(parser, TokenFormat, "number formats")
    parser.add_argument(
        "--add", type=Path, nargs="?", const=TOKEN_RESULTS, metavar="FILE",
        help=f"add what was measured to a results file and print its table (without FILE: {TOKEN_RESULTS})",
    )  # fmt: skip
    parser.add_argument(
        "--sweep", action="store_true", help="measure other digits of K and V, WHT or not and another block, too"
    )
    parser.add_argument("--json", action="store_true", help="print what was written and measured as JSON")
    parser.set_defaults(run=_integer)


def _integer(options: Namespace) -> None:
    from quant.token.run import prepare  # imports torch

    job = _job(options)
    if (options.add or options.sweep) and job.text is None:
        raise InputError("--add and --sweep need --text: what they show are measured perplexities")
    if options.add:
        check_results_file(options.add, read_token_results)  # refused before anything is measured
    rows = []
    with stage_bars() as report:
        run = prepare(job, report)
        if job.text is not None:
            for row in run.sweep(report) if options.sweep else [run.measure(report)]:
                rows.append(row)
                if options.add:
                    add_token_row(options.add, row)
    written, shown = [], 0
    for token in run.write():
        written.append(token)
        text = run.loaded.tokenizer.decode(written)  # whole: a token alone may lack its space, or half a character
        if not options.json and not text.endswith(_HALF):
            print(text[shown:], end="", flush=True)
            shown = len(text)
    if options.json:
        measured = [row.model_dump(mode="json") for row in rows]
        print(json.dumps({"tokens": written, "measured": measured, "saturated": run.model.flags.saturated}, indent=1))
    else:
        print("\n" if written else "", end="")
        for row in rows:
            _print_figures(row)
        print(f"saturated kernels: {run.model.flags.saturated} (0 when every format holds its values)")
        if options.add:
            print(token_markdown(read_token_results(options.add)))


def _job(options: Namespace) -> TokenJob:
    fields, form = given_fields(options, TokenJob, TokenFormat)
    if options.ids is not None:
        try:
            fields["prompt_ids"] = [int(one) for one in options.ids.split(",")]
        except ValueError:
            raise InputError(f"--prompt-ids must be integers joined by commas, not {options.ids!r}") from None
    fields["form"] = validate_document(form, TokenFormat, "options")
    return validate_document(fields, TokenJob, "options")


def _print_figures(row: TokenRow) -> None:
    form, error = row.form, "" if row.standard_error is None else f" ± {100 * row.standard_error:.2f}"
    turned = "WHT" if form.rotate else "no WHT"
    print(f"perplexity on {row.text}, {row.windows} windows of {row.length} tokens")
    print(f"  A8, float attention, the same trits  {row.float_attention:9.3f}")
    print(f"  the same, table in {form.table_digits} digits          {row.same_trits:9.3f}")
    print(f"  integers alone                       {row.integer:9.3f}  {100 * row.change:+.2f}{error} %")
    print(f"    K in {form.key_digits} digits, V in {form.value_digits}, {turned}, blocks of {form.block} tokens")
