"""The generated tables of the documentation that this package makes, by the name of their block on the page."""

from collections.abc import Callable

from quant.exports.agreement_table import AGREEMENT_FILE, agreement_markdown, read_agreements
from quant.results.bench_report import BENCH_FILE, bench_markdown, read_reports
from quant.results.kv_table import KV_FILE, kv_markdown, read_kv_results
from quant.results.minutes_table import MINUTES_FILE, minutes_markdown, read_minutes_rows
from quant.results.shared_table import SHARED_FILE, read_shared_rows, shared_markdown
from quant.results.table import RESULTS_FILE, read_results, results_markdown
from quant.rewrite.online_rotation import online_markdown
from quant.token.approximations import approximation_markdown
from quant.token.results import TOKEN_RESULTS, read_token_results, token_markdown
from quant.vocabulary.cut.results import CUT_FILE, cut_markdown, read_cut_results
from quant.vocabulary.results import TABLES_FILE, read_table_results, tables_markdown

__all__ = ["TABLES"]

TABLES: dict[str, Callable[[], str]] = {
    "quantization": lambda: results_markdown(read_results(RESULTS_FILE)),
    "exports": lambda: agreement_markdown(read_agreements(AGREEMENT_FILE)),
    "online-rotation": online_markdown,
    "whole-token": lambda: token_markdown(read_token_results(TOKEN_RESULTS)),
    "approximations": lambda: approximation_markdown(read_token_results(TOKEN_RESULTS)),
    "kv": lambda: kv_markdown(read_kv_results(KV_FILE)),
    "vocabulary": lambda: tables_markdown(read_table_results(TABLES_FILE)),
    "vocabulary-cut": lambda: cut_markdown(read_cut_results(CUT_FILE)),
    "minutes": lambda: minutes_markdown(read_minutes_rows(MINUTES_FILE)),
    "shared": lambda: shared_markdown(read_shared_rows(SHARED_FILE)),
    "quant-bench": lambda: bench_markdown(read_reports(BENCH_FILE)),
}
