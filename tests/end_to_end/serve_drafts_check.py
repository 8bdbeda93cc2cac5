"""Drafts on one side of a network, and `mixnmatch serve` as their verifier on the other.

usage: serve_drafts_check.py CHECK URL [ARGUMENT]...

Each check is a function of this file.
"""

import contextlib
import http.server
import json
import math
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

from served import PATIENCE, get, post


class Relay(threading.Thread):
    """A TCP relay that delays each direction by `delay` seconds. It closes each connection after
    so many answers, and takes no more than so many connections."""

    def __init__(self, url, delay=0, answers=math.inf, connections=math.inf):
        super().__init__(daemon=True)
        at = urllib.parse.urlsplit(url)
        self.target, self.delay = (at.hostname, at.port), delay
        self.answers, self.connections = answers, connections
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http:{'//'}127.0.0.1:{self.listener.getsockname()[1]}"
        self.taken, self.bytes = 0, 0
        self.start()

    def run(self):
        while self.taken < self.connections:
            client, _ = self.listener.accept()
            self.taken += 1
            server = socket.create_connection(self.target)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for pair in ((client, server, math.inf), (server, client, self.answers)):
                threading.Thread(target=self.forward, args=pair, daemon=True).start()
        self.listener.close()

    def forward(self, source, sink, pieces):
        try:
            while data := source.recv(1 << 16):
                if (pieces := pieces - 1) < 0:
                    break
                time.sleep(self.delay)
                self.bytes += len(data)
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def verify(url):
    """The protocol of /v1/verify, as somebody else's client would speak it."""
    prompt, count = list(b"def main("), 12
    body = {"prompt": prompt, "max_tokens": count, "temperature": 0}
    body |= {"model": "512x8", "return_token_ids": True}
    status, answer, _ = post(url, "/v1/completions", body)
    alone = json.loads(answer)["choices"][0]["token_ids"]
    assert status == 200 and len(alone) == count

    def asked(**members):
        status, answer, _ = post(url, "/v1/verify", members)
        return status, json.loads(answer)

    wrong = (alone[3] + 1) % 256
    status, answer = asked(tokens=prompt, draft=[*alone[:3], wrong, alone[4]])
    assert status == 200, answer
    assert (answer["accepted"], answer["token"]) == (3, alone[3]), answer
    assert answer["length"] == len(prompt) + 4 and answer["widths"] == "512x8"
    assert answer["computed"] == len(prompt) + 5 and answer["seconds"] > 0
    go_on = {"session": answer["session"], "keep": answer["length"], "tokens": []}
    # The same question has the same answer, on whatever the session came to hold.
    for _ in range(2):
        status, answer = asked(**go_on, draft=alone[4:9])
        assert status == 200, answer
        assert (answer["accepted"], answer["token"]) == (5, alone[9]), answer
    # Only the last token and the draft are computed, once the text is long enough to be kept.
    for _ in range(2):
        status, answer = asked(tokens=prompt * 4, draft=[1, 2])
        assert status == 200, answer
    assert answer["computed"] == 3, answer
    # Nothing is asked of the model that it cannot answer.
    for members, status, code in (
        (
            {"tokens": [], "draft": [], "session": "none", "keep": 0},
            404,
            "session_unknown",
        ),
        (
            {"tokens": [], "draft": [], **go_on, "keep": 10_000},
            404,
            "session_unknown",
        ),
        ({"tokens": prompt, "draft": [], "model": "none"}, 404, "model_not_found"),
        ({"tokens": prompt, "draft": [], "model": "auto"}, 400, None),
        ({"tokens": [], "draft": [1]}, 400, None),
        ({"tokens": [1], "draft": [256]}, 400, None),
        ({"tokens": [1], "draft": [], "vocabulary": 300}, 400, "other_vocabulary"),
        ({"tokens": [1], "draft": [], "tokenizer": "0" * 32}, 400, "other_tokenizer"),
        ({"tokens": [1] * 100000, "draft": []}, 400, "context_length_exceeded"),
    ):
        got, answer = asked(**members)
        assert got == status, (members.keys(), answer)
        assert code is None or answer["error"]["code"] == code, answer


def edge(url, program, draft, token_file):
    """A draft on this side of a slow network, and its verifier on the other."""
    prompt, count = "def main(", 48
    common = [program, "generate", draft, "--threads", "1", "--token-file", token_file]
    common += ["--ignore-end", "--json"]

    def generate(*more, at, fails=False):
        done = subprocess.run(
            [*common, "--verifier", at, *more],
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else json.loads(done.stdout)

    def greedy(at, **more):
        return generate(
            "--prompt", prompt, "--max-new-tokens", str(count), at=at, **more
        )

    body = {"prompt": list(prompt.encode()), "max_tokens": count, "temperature": 0}
    names = [m["id"] for m in json.loads(get(url, "/v1/models"))["data"]]
    body |= {"model": names[1], "ignore_eos": True, "return_token_ids": True}
    alone = json.loads(post(url, "/v1/completions", body)[1])["choices"][0]["token_ids"]
    for delay in (0.0005, 0.010, 0.050):
        relay = Relay(url, delay)
        start = time.monotonic()
        answer = greedy(relay.url)
        assert answer["tokens"] == alone, (answer["tokens"], alone)
        assert answer["round_trips"] < count, answer
        assert answer["network_seconds"] >= 2 * delay, answer
        assert answer["network_seconds"] < answer["round_trip_seconds"], answer
        # Eight more round trips measure the verifier alone, and are counted apart.
        assert 0 < answer["bytes_sent"] + answer["bytes_received"] < relay.bytes
        print(
            f"{1e3 * delay:g} ms each way: {answer['round_trips_per_token']:.2f} round trips and "
            f"{answer['network_bytes_per_token']:.0f} bytes a token, {answer['acceptance']:.2f} accepted, "
            f"{answer['draft_tokens']:.1f} proposed at once, "
            f"{1e3 / answer['decode_tokens_per_second']:.1f} ms a token, break-even "
            f"{1e3 * answer['break_even_seconds']:.1f} ms, {time.monotonic() - start:.1f} s in all"
        )
    drawn = ["--temperature", "1", "--prompt", prompt, "--max-new-tokens", str(count)]
    first = generate(*drawn, "--seed", "3", at=url)["tokens"]
    assert generate(*drawn, "--seed", "3", at=url)["tokens"] == first
    assert generate(*drawn, "--seed", "4", at=url)["tokens"] != first
    # A connection that ends is made again; a network that is gone for good is one sentence.
    relay = Relay(url, answers=3)
    assert greedy(relay.url)["tokens"] == alone and relay.taken > 1
    said = greedy(Relay(url, answers=3, connections=1).url, fails=True)
    match = re.search(r"after (\d+) new tokens.*--tokens ([\d,]+)", said)
    assert match, said
    ids = [int(i) for i in match[2].split(",")]
    done = int(match[1])
    assert ids == list(prompt.encode()) + alone[:done] and 0 < done < count, said
    rest = generate("--tokens", match[2], "--max-new-tokens", str(count - done), at=url)
    assert rest["tokens"] == alone[done:]


def strangers(url, program, draft, other, renamed):
    """Servers and drafts that do not go together: one sentence each. `other` has another vocabulary
    than the server's model, and `renamed` other texts."""

    def said(model, at, *more):
        command = [
            program,
            "generate",
            model,
            "--tokens",
            "1,2",
            "--verifier",
            at,
            *more,
        ]
        done = subprocess.run(
            command, capture_output=True, check=False, text=True, timeout=PATIENCE
        )
        assert done.returncode in (1, 2) and done.stderr.count("\n") < 4, done.stderr
        return done.stderr

    assert "a vocabulary of" in said(other, url)
    assert "other texts" in said(renamed, url)
    assert "no server at" in said(draft, "http:" + "//127.0.0.1:1")
    assert "no model of this name" in said(draft, url, "--verifier-model", "none")
    assert "no address of a server" in said(draft, "localhost")
    old = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler
    )
    old.RequestHandlerClass.do_POST = lambda self: self.send_error(404)
    threading.Thread(target=old.serve_forever, daemon=True).start()
    assert "verifies no drafts" in said(
        draft, f"http:{'//'}127.0.0.1:{old.server_port}"
    )
    silent = socket.create_server(("127.0.0.1", 0))
    at = f"http:{'//'}127.0.0.1:{silent.getsockname()[1]}"
    assert "no answer in time" in said(draft, at, "--verifier-timeout", "1s")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
