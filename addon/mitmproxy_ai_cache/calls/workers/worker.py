"""The worker: reads jobs from its standard input, answers on its standard output, ends with the input."""

from __future__ import annotations

import os
import signal
import traceback

from .frames import packed, unpacked
from .jobs import run


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the proxy, which ends this one
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)  # a stray print must not stand between two messages

    def read(size: int) -> bytes:
        found = bytearray(size)
        view, at = memoryview(found), 0
        while at < size:
            count = os.readv(source, [view[at:]])
            if not count:
                raise EOFError
            at += count
        return bytes(found)

    while True:
        try:
            head, blobs = unpacked(read)
        except EOFError:
            return
        try:
            answer, out = run(head, blobs)
        except Exception:
            answer, out = {"error": traceback.format_exc()}, []
        try:
            for piece in packed(answer, out):
                view = memoryview(piece)
                while view:
                    view = view[os.write(sink, view) :]
        except BrokenPipeError:
            return
        del head, blobs, answer, out


if __name__ == "__main__":
    main()
