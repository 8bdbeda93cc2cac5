"""Load test of `mixnmatch serve`: closed loops of 1 to 64 clients, at fixed and at elastic widths.

Each client streams one completion after the other. The time per token is what passes between two
tokens of one stream, where they arrive. The loss served is that of the store's front, averaged over
the tokens by the widths that their events name. The target of the elastic server lies between the
times of the narrowest and the widest at the largest load: the widest misses it by --miss times.

usage: scripts/serve-load --db FILE [--model DIR] [--clients 1,2,4] [--seconds 10] [--svg FILE]
"""

import argparse
import dataclasses
import json
import pathlib
import re
import selectors
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from html import escape

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "build/release/bin/mixnmatch"
# Of each token's event. That of the last names the widths of all, so it has those of the one before.
WIDTHS = re.compile(rb'"finish_reason":(?:null,"widths":"([^"]+)"|"length")')


@dataclasses.dataclass
class Measured:
    server: str
    clients: int
    median: float  # ms
    p99: float  # ms
    throughput: float  # tokens per second
    loss: float  # nats per token
    over: float  # share of the times per token that are above the target


class Stream:
    """One client: a request under way, and when its last token came."""

    def __init__(self, address, model, number, tokens):
        self.number = number
        body = {
            "model": model,
            "prompt": f"def function_{number}(",
            "max_tokens": tokens,
            "seed": number,
            "ignore_eos": True,
            "stream": True,
        }
        data = json.dumps(body).encode()
        self.request = (
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(data)
        ) + data
        self.sock = socket.create_connection(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.begin()

    def begin(self):
        self.last = None
        self.widths = None  # of the last token
        self.tail = b""
        self.sock.sendall(self.request)

    def read(self):
        """The widths of the tokens that have come, and whether the stream has ended."""
        data = self.sock.recv(1 << 16)
        if not data:
            raise ConnectionError("the server closed a stream")
        text = self.tail + data
        if b"HTTP/1.1 " in text and b"HTTP/1.1 200" not in text:
            raise RuntimeError(text.decode(errors="replace"))
        found, end = [], 0
        for match in WIDTHS.finditer(text):
            self.widths = match[1] or self.widths
            found.append(self.widths)
            end = match.end()
        self.tail = text[end:][-4096:]
        return found, b"[DONE]" in self.tail


def load(address, model, clients, seconds, tokens):
    """Times per token in ms, and tokens by widths, of `seconds` after a second of warming up."""
    selector = selectors.DefaultSelector()
    for number in range(clients):
        stream = Stream(address, model, number, tokens)
        selector.register(stream.sock, selectors.EVENT_READ, stream)
    gaps, by_widths = [], {}
    start = time.monotonic() + 1
    while (now := time.monotonic()) < start + seconds:
        for key, _ in selector.select(timeout=0.1):
            stream = key.data
            found, ended = stream.read()
            now = time.monotonic()
            if found and now >= start:
                if stream.last is not None:
                    gaps += [1e3 * (now - stream.last) / len(found)] * len(found)
                for widths in found:
                    by_widths[widths.decode()] = by_widths.get(widths.decode(), 0) + 1
            if found:
                stream.last = now
            if ended:
                stream.begin()
    for key in list(selector.get_map().values()):
        key.fileobj.close()
    return gaps, by_widths


class Server:
    def __init__(self, arguments, program=PROGRAM):
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [program, "serve", *map(str, arguments), "--port", "0"], stderr=self.log
        )
        self.url = None
        while self.url is None:
            time.sleep(0.05)
            self.log.seek(0)
            said = self.log.read()
            match = re.search(r"serving .* on (\S+)", said)
            if match:
                self.url = match[1]
            elif self.process.poll() is not None:
                raise SystemExit(said)
        at = urllib.parse.urlsplit(self.url)
        self.address = at.hostname, at.port

    def models(self):
        with urllib.request.urlopen(self.url + "/v1/models") as response:
            return json.load(response)["data"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def measure(arguments, server_name, model, clients, options, target):
    """One Measured for each number of clients."""
    rows = []
    with Server(arguments) as server:
        losses = {m["widths"]: m["loss"] for m in server.models()}
        for count in clients:
            gaps, by_widths = load(
                server.address, model, count, options.seconds, options.tokens
            )
            total = sum(by_widths.values())
            loss = sum(losses[w] * n for w, n in by_widths.items()) / total
            gaps.sort()
            rows.append(
                Measured(
                    server_name,
                    count,
                    statistics.median(gaps),
                    gaps[int(0.99 * (len(gaps) - 1))],
                    total / options.seconds,
                    loss,
                    sum(g > target for g in gaps) / len(gaps) if target else 0,
                )
            )
            print(line_of(rows[-1]), flush=True)
            time.sleep(0.5)  # the streams that were cut off end
    return rows


HEAD = (
    "| server | clients | time per token, median, ms | 99th percentile, ms | tokens/s | loss served |\n"
    "|---|---|---|---|---|---|"
)


def line_of(row):
    return (
        f"| {row.server} | {row.clients} | {row.median:.1f} | {row.p99:.1f} | "
        f"{row.throughput:.0f} | {row.loss:.4f} |"
    )


COLOURS = {"narrowest": "#2a9d8f", "widest": "#d1495b", "elastic": "#3b6fb6"}


def panel(left, title, rows, value, spread=None, target=None):
    """A picture of `value` over the clients, both logarithmic to the base 2 but for losses."""
    width, height, top = 240, 190, 44
    clients = sorted({row.clients for row in rows})
    values = [value(row) for row in rows] + (
        [spread(r) for r in rows] if spread else []
    )
    if target:
        values.append(target)
    low, high = min(values), max(values)
    low, high = low - 0.06 * (high - low), high + 0.06 * (high - low)

    def x(count):
        return (
            left + 34 + (width - 50) * clients.index(count) / max(1, len(clients) - 1)
        )

    def y(number):
        return top + height - height * (number - low) / (high - low)

    out = [
        f'<text x="{left + 34}" y="{top - 14}" class="title">{escape(title)}</text>',
        f'<path d="M{left + 34},{top} V{top + height} H{left + width}" class="axis"/>',
    ]
    for count in clients:
        out.append(
            f'<text x="{x(count):.1f}" y="{top + height + 14}" class="mid">{count}</text>'
        )
    for i in range(5):
        number = low + (high - low) * i / 4
        out.append(
            f'<text x="{left + 30}" y="{y(number) + 3:.1f}" class="end">{number:.3g}</text>'
        )
    if target:
        out.append(
            f'<path d="M{left + 34},{y(target):.1f} H{left + width}" class="target"/>'
            f'<text x="{left + width}" y="{y(target) - 4:.1f}" class="end">target</text>'
        )
    for name, colour in COLOURS.items():
        own = [row for row in rows if row.server.startswith(name)]
        for of, dash in ((value, ""), (spread, ' stroke-dasharray="4 3"')):
            if of is None or not own:
                continue
            points = " ".join(f"{x(r.clients):.1f},{y(of(r)):.1f}" for r in own)
            out.append(
                f'<polyline points="{points}" fill="none" stroke="{colour}" '
                f'stroke-width="2"{dash}/>'
            )
    return out


def picture(rows, target):
    out = []
    out += panel(
        0, "time per token, ms", rows, lambda r: r.median, lambda r: r.p99, target
    )
    out += panel(265, "tokens per second", rows, lambda r: r.throughput)
    out += panel(530, "loss served, nats per token", rows, lambda r: r.loss)
    for i, (name, colour) in enumerate(COLOURS.items()):
        out.append(
            f'<path d="M{40 + 130 * i},278 h24" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{70 + 130 * i}" y="282">{name}</text>'
        )
    out.append('<text x="430" y="282">over clients; dashed: 99th percentile</text>')
    frame = (ROOT / "bench/serve_load_frame.svg").read_text()
    return frame.replace("<!-- panels -->", "\n".join(out))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="data/reference")
    parser.add_argument("--db", required=True, help="a store with a front of the model")
    parser.add_argument("--clients", default="1,2,4,8,16,32,64")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--tokens", type=int, default=128, help="of each completion")
    parser.add_argument(
        "--threads", type=int, default=1, help="of the server's arithmetic"
    )
    parser.add_argument("--may-skip", help="as of `mixnmatch serve`")
    parser.add_argument("--miss", type=float, default=1.5)
    parser.add_argument("--target", type=float, help="ms; else by --miss")
    parser.add_argument("--svg", type=pathlib.Path)
    options = parser.parse_args()
    clients = [int(count) for count in options.clients.split(",")]
    arguments = [options.model, "--db", options.db, "--max-running", max(clients)]
    arguments += ["--threads", options.threads]
    if options.may_skip:
        arguments += ["--may-skip", options.may_skip]
    with Server(arguments) as server:
        levels = server.models()[2:]
    narrow, wide = levels[0]["widths"], levels[-1]["widths"]
    print(f"narrowest {narrow}, widest {wide}, {len(levels)} levels\n{HEAD}")
    rows = measure(arguments, "narrowest", narrow, clients, options, None)
    rows += measure(arguments, "widest", wide, clients, options, None)
    target = options.target or rows[-1].median / options.miss
    elastic = [*arguments, "--target-latency", f"{target:.3f}ms"]
    adaptive = measure(elastic, "elastic", "auto", clients, options, target)
    rows += adaptive
    print(f"\ntarget {target:.2f} ms; at {clients[-1]} clients the narrowest takes")
    print(
        f"{rows[len(clients) - 1].median:.2f} ms, the widest {rows[2 * len(clients) - 1].median:.2f}"
    )
    for row in adaptive:
        print(
            f"elastic, {row.clients} clients: {100 * row.over:.1f} % above the target"
        )
    if options.svg:
        options.svg.write_text(picture(rows, target))


if __name__ == "__main__":
    main()
