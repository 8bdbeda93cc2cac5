"""The server as its clients see it: the judge of `mixnmatch serve` (serve_test.cpp).

usage: serve_check.py CHECK URL [ARGUMENT]

Each check is a function of this file. The clients are OpenAI's own package, curl, and plain
sockets for what no decent client sends. serve_drafts_check.py has those of /v1/verify.
"""

import concurrent.futures
import http.client
import http.server
import json
import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import urllib.parse

import openai
from served import (
    PATIENCE,
    PROMPTS,
    TOKEN,
    WIDTHS,
    answer_to,
    client_of,
    connection,
    metric,
    post,
    until,
)


def completions(url, generated):
    """Greedy text is that of `mixnmatch generate`: [{"prompt", "widths", "text"}] in `generated`."""
    client = client_of(url)
    with open(generated) as file:
        cases = json.load(file)
    for case in cases:
        request = {
            "model": case["widths"],
            "prompt": case["prompt"],
            "max_tokens": 40,
            "temperature": 0,
        }
        answer = client.completions.create(**request)
        choice = answer.choices[0]
        assert choice.text == case["text"], (case, choice.text)
        assert choice.finish_reason == "length"
        assert answer.usage.completion_tokens == 40
        assert answer.usage.prompt_tokens == len(case["prompt"])
        assert choice.widths == [
            {
                "widths": case["widths"],
                "prompt_tokens": len(case["prompt"]),
                "completion_tokens": 40,
            }
        ]
        ids = list(case["prompt"].encode())
        assert (
            client.completions.create(**(request | {"prompt": ids})).choices[0].text
            == (case["text"])
        )
        # A stream has the same text, in pieces.
        events = list(
            client.completions.create(
                **request, stream=True, stream_options={"include_usage": True}
            )
        )
        assert "".join(e.choices[0].text for e in events[:-1]) == case["text"]
        assert len(events) > 10
        assert events[0].choices[0].widths == case["widths"]
        assert events[-2].choices[0].finish_reason == "length"
        assert events[-1].usage.completion_tokens == 40


def protocol(url):
    client = client_of(url)
    names = [model.id for model in client.models.list()]
    assert names[:2] == ["auto", "reference"], names
    for name in names:
        assert client.models.retrieve(name).id == name
        answer = client.completions.create(model=name, prompt="def ", max_tokens=3)
        assert answer.model == name
        assert answer.choices[0].widths[0]["widths"], answer
    assert client.models.retrieve("64x4,256x4").widths == "64x4,256x4"

    ask = {"model": "128x8", "prompt": "import ", "max_tokens": 24}
    greedy = client.completions.create(**ask, temperature=0).choices[0].text
    # A stop string and what follows it stay away.
    stop = greedy[10:13]
    stopped = client.completions.create(
        **ask, temperature=0, stop=[stop, "never"]
    ).choices[0]
    assert stopped.text == greedy[: greedy.index(stop)], (stopped.text, greedy)
    assert stopped.finish_reason == "stop"
    streamed = client.completions.create(**ask, temperature=0, stop=stop, stream=True)
    assert "".join(e.choices[0].text for e in streamed) == stopped.text

    # A seed is its text; without a seed, texts differ.
    drawn = {**ask, "temperature": 1.2, "top_p": 0.95, "max_tokens": 60}
    texts = [
        client.completions.create(**drawn, seed=s).choices[0].text for s in (3, 3, 4)
    ]
    assert texts[0] == texts[1] != texts[2]
    free = {client.completions.create(**drawn).choices[0].text for _ in range(3)}
    assert len(free) > 1
    both = client.completions.create(**drawn, seed=3, n=2, best_of=2)
    assert [c.index for c in both.choices] == [0, 1]
    assert [c.text for c in both.choices] == [texts[0], texts[2]]
    assert both.usage.completion_tokens == 120 and both.usage.prompt_tokens == len(
        "import "
    )
    many = client.completions.create(**(ask | {"prompt": PROMPTS}), temperature=0)
    for prompt, choice in zip(PROMPTS, many.choices, strict=True):
        alone = client.completions.create(**(ask | {"prompt": prompt}), temperature=0)
        assert alone.choices[0].text == choice.text, prompt

    # Log probabilities, of the answer and of the prompt. Bytes after the first are scored.
    scored = (
        client.completions.create(**ask, temperature=0, logprobs=3).choices[0].logprobs
    )
    assert "".join(scored.tokens) == greedy
    for token, logprob, top in zip(
        scored.tokens, scored.token_logprobs, scored.top_logprobs, strict=True
    ):
        assert len(top) == 3 and top[token] == max(top.values()) == logprob <= 0
    # Neighbouring tokens join a longer prompt to the same sum, up to the rounding of f32.
    whole = client.completions.create(
        model="128x8", prompt="import " + greedy, max_tokens=0, echo=True, logprobs=0
    ).choices[0]
    assert whole.text == "import " + greedy
    assert whole.logprobs.token_logprobs[0] is None
    assert whole.logprobs.text_offset == list(range(len(whole.text)))
    for one, other in zip(
        whole.logprobs.token_logprobs[7:], scored.token_logprobs, strict=True
    ):
        assert math.isclose(one, other, abs_tol=1e-3), (one, other)

    for wrong, status, part in (
        ({"model": "reference-1"}, 404, "/v1/models"),
        ({"model": "5000x8"}, 404, "5000"),
        ({"prompt": ""}, 400, "empty"),
        ({"prompt": []}, 400, "empty"),
        ({"prompt": [1, 256]}, 400, "vocabulary of 256"),
        ({"prompt": "a" * 100_000}, 400, "room for"),
        ({"max_tokens": 0}, 400, "echo"),
        ({"n": 1000}, 400, "from 1 to 64"),
        ({"suffix": "x"}, 400, "not supported"),
    ):
        try:
            client.completions.create(**(ask | wrong))
            raise AssertionError(f"{wrong} was taken")
        except openai.APIStatusError as error:
            assert error.status_code == status, (wrong, error)
            assert part in error.body["message"], error.body
    try:
        client.chat.completions.create(
            model="auto", messages=[{"role": "user", "content": "hi"}]
        )
        raise AssertionError("a model without a template chats")
    except openai.BadRequestError as error:
        assert "chat_template" in error.body["message"]


def chat(url):
    """A checkpoint with a ChatML template."""
    client = client_of(url)
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "yes?"},
        {"role": "user", "content": [{"type": "text", "text": "go on"}]},
    ]
    text = (
        "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n"
        "<|im_start|>assistant\nyes?<|im_end|>\n<|im_start|>user\ngo on<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    ask = {"model": "256x8", "temperature": 0, "max_tokens": 20}
    plain = client.completions.create(prompt=text, **ask).choices[0].text
    answer = client.chat.completions.create(
        messages=messages, logprobs=True, top_logprobs=2, **ask
    )
    choice = answer.choices[0]
    assert choice.message.role == "assistant"
    assert choice.message.content == plain, (choice.message.content, plain)
    assert "".join(t.token for t in choice.logprobs.content) == plain
    assert (
        choice.logprobs.content[0].top_logprobs[0].logprob
        == choice.logprobs.content[0].logprob
    )
    assert answer.usage.prompt_tokens == len(text)
    events = list(client.chat.completions.create(messages=messages, stream=True, **ask))
    assert events[0].choices[0].delta.role == "assistant"
    assert "".join(e.choices[0].delta.content or "" for e in events) == plain
    assert events[-1].choices[0].finish_reason == "length"
    # The next turn of the same chat begins with what was computed for this one.
    assert (
        client.chat.completions.create(
            messages=messages, **ask
        ).usage.prompt_tokens_details.cached_tokens
        == len(text) - 1
    )
    for wrong in (
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"messages": [*messages, {"role": "user", "content": "twice"}]},
        {"messages": messages[:-1]},
        {"response_format": {"type": "json_object"}},
    ):
        try:
            client.chat.completions.create(**({"messages": messages} | ask | wrong))
            raise AssertionError(f"{wrong} was taken")
        except openai.BadRequestError as error:
            assert error.body["message"].count(".") <= 2


def front(url):
    """The front of a store, with its losses, and `auto` over it."""
    client = client_of(url)
    models = list(client.models.list())
    assert [m.id for m in models[:2]] == ["auto", "tiny"], models
    members = models[2:]
    assert len(members) > 1
    assert len({m.id for m in models}) == len(models)
    losses = [m.loss for m in members]
    assert all(loss > 0 for loss in losses), losses
    widths = {m.widths for m in members}
    answer = client.completions.create(model="auto", prompt="ab", max_tokens=4)
    assert {use["widths"] for use in answer.choices[0].widths} <= widths, answer
    for m in members:
        choice = client.completions.create(
            model=m.id, prompt="ab", max_tokens=2
        ).choices[0]
        assert [use["widths"] for use in choice.widths] == [m.widths]


def curl(url):
    def run(*arguments):
        return subprocess.run(
            ["curl", "-sS", "--max-time", "30", *arguments],
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    authorized = ["-H", f"Authorization: Bearer {TOKEN}"]
    assert run(url + "/health") == '{"status":"ok"}'
    assert run("-I", url + "/health").startswith("HTTP/1.1 200")
    assert "mixnmatch_requests_total" in run(*authorized, url + "/metrics")
    body = '{"model": "64x8", "prompt": "def ", "max_tokens": 5, "stream": true}'
    as_json = [*authorized, "-H", "Content-Type: application/json", "-d", body]
    events = run("-N", *as_json, url + "/v1/completions").split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""], events
    assert (
        json.loads(events[0].removeprefix("data: "))["choices"][0]["widths"] == "64x8"
    )
    # A long body waits for the server's word first (Expect: 100-continue). HTTP/1.0 has no chunks.
    long = json.dumps({"model": "64x8", "prompt": "x" * 2_000_000}).replace("'", "")
    answer = subprocess.run(
        ["curl", "-sS", *authorized, "-H", "Content-Type: application/json"]
        + [
            "-H",
            "Expect: 100-continue",
            "--data-binary",
            "@-",
            url + "/v1/completions",
        ],
        input=long,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "room for" in answer, answer
    old = run("--http1.0", *as_json, url + "/v1/completions")
    assert old.endswith("data: [DONE]\n\n"), old


def hostile(url):
    """What is no decent request ends with a status or a closed connection, and harms nobody."""

    def framed(body, path="/v1/completions", headers=""):
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        )
        return head.encode() + body

    for body in (
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"model":"auto","prompt":"\xff"}',
        b'{"model":"auto","prompt":"\xed\xa0\x80"}',
        b'{"model":"auto","model":"auto","prompt":"a"}',
        b'{"model":"auto","prompt":"a","max_tokens":1e400}',
        b'{"model":"auto","prompt":"a","temperature":NaN}',
        b'{"model":"auto","prompt":"a\0"}',
        b'{"model":"auto","prompt":"\\ud800"}',
        os.urandom(5000),
    ):
        status, answer = answer_to(url, framed(body))
        assert status == 400, (body[:40], status, answer)
        assert json.loads(answer)["error"]["message"]
    token = f"Authorization: Bearer {TOKEN}\r\n".encode()
    for data, expected in (
        (b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n" + token + b"\r\n", {404}),
        (
            b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n" + token + b"\r\n",
            {404},
        ),
        (
            b"GET /v1/completions HTTP/1.1\r\nHost: localhost\r\n" + token + b"\r\n",
            {405},
        ),
        (b"DELETE /v1/models HTTP/1.1\r\nHost: localhost\r\n" + token + b"\r\n", {405}),
        (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", {401}),
        (
            b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n",
            {401},
        ),
        (b"GET /health HTTP/1.1\r\nHost: a.example\r\n\r\n", {403}),
        (b"GET /health HTTP/1.1\r\nA: " + b"x" * 100_000 + b"\r\n\r\n", {431}),
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", {431}),
        (b"GET /health HTTP/1.1\r\n" + b"A: b\r\n" * 20_000 + b"\r\n", {431}),
        (framed(b"x" * 10, headers="Content-Length: 11\r\n"), {400}),
        (framed(b"", headers="Transfer-Encoding: chunked\r\n"), {400}),
        (
            framed(b"").replace(b"Content-Length: 0", b"Content-Length: 99999999999"),
            {413},
        ),
        (framed(b"").replace(b"Content-Length: 0", b"Content-Length: -1"), {400}),
        (framed(b"{}").replace(b"application/json", b"text/plain"), {415}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", {0, 400}),  # TLS
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {0, 400}),
        (b"\r\n\r\n\r\n\r\n", {0, 400}),
        (b"\0" * 1000, {0, 400}),
        (os.urandom(3000), {0, 400, 431}),
    ):
        status, _ = answer_to(url, data, shut=True)
        assert status in expected, (data[:60], status)
    # Half a request, and no more of it.
    for cut in (5, 60, 190):
        answer_to(url, framed(b'{"model":"auto","prompt":"a"}')[:cut], shut=True)
    assert post(url, "/v1/completions", {"model": "64x8", "prompt": "a"})[0] == 200


def together(url):
    """Every answer of many at once is that of the same request alone.

    The composition of the batches differs, so sums of floats may be rounded otherwise: the tokens
    must be equal, and the log probabilities within 1e-4 (those of f32 logits of size 20 over 8
    layers are off by some 1e-6 each).
    """
    client = client_of(url)
    asks = []
    for i in range(48):
        ask = {
            "model": WIDTHS[i % len(WIDTHS)],
            "prompt": PROMPTS[i % len(PROMPTS)] + "x" * (i % 5),
            "max_tokens": 10 + i,
            "temperature": i % 3 * 0.5,
            "seed": i,
            "logprobs": 0,
        }
        asks.append(ask)
    alone = [client.completions.create(**ask).choices[0] for ask in asks]
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        crowd = list(
            pool.map(lambda ask: client.completions.create(**ask).choices[0], asks)
        )
    worst = 0
    for ask, one, other in zip(asks, alone, crowd, strict=True):
        assert one.text == other.text, (ask, one.text, other.text)
        for a, b in zip(
            one.logprobs.token_logprobs, other.logprobs.token_logprobs, strict=True
        ):
            worst = max(worst, abs(a - b))
    assert worst < 1e-4, worst
    assert metric(url, "mixnmatch_step_rows_count") > 0
    print("the worst difference of a log probability:", worst)


def begin(url, body):
    """A connection that asks for completions, and whose answer is not read yet."""
    sock = connection(url)
    data = json.dumps(body).encode()
    head = (
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    sock.sendall(head.encode() + data)
    return sock


def leaving(url):
    """Clients that go away, do not read, or open connections and say nothing."""
    endless = {"model": "64x8", "prompt": "a", "max_tokens": 100_000, "stream": True}
    endless |= {"ignore_eos": True}

    # In the middle of a stream, and before an answer.
    before = metric(url, "mixnmatch_cancelled_total")
    for body in (endless, endless | {"stream": False}) * 5:
        sock = begin(url, body)
        if body["stream"]:
            assert sock.recv(100).startswith(b"HTTP/1.1 200")
        else:
            time.sleep(0.02)
        sock.close()
    until(lambda: metric(url, "mixnmatch_running") == 0)
    until(lambda: metric(url, "mixnmatch_cancelled_total") >= before + 10)
    # A storm of them.
    for _ in range(5):
        for sock in [begin(url, endless) for _ in range(20)]:
            sock.close()
    until(
        lambda: metric(url, "mixnmatch_running") + metric(url, "mixnmatch_waiting") == 0
    )
    # One does not read, and others are served.
    slow = begin(url, endless)
    assert post(url, "/v1/completions", {"model": "64x8", "prompt": "a"})[0] == 200
    slow.close()
    until(lambda: metric(url, "mixnmatch_running") == 0)


def idle(url):
    """As many idle connections as descriptors allow, up to 10,000, while the model computes.

    The median of 20 answers of /health comes within 100 ms. bench/serve_health.py measures more.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(10_000, hard - 200)
    crowd = [connection(url) for _ in range(count)]
    until(lambda: metric(url, "mixnmatch_connections") >= count)
    body = {"model": "512x8", "prompt": "a", "max_tokens": 100_000, "ignore_eos": True}
    # More than run at once: some run to the end of the check, even where the first ones finish.
    crowd += [begin(url, body) for _ in range(80)]
    until(lambda: metric(url, "mixnmatch_running") > 0)

    times = []
    for _ in range(20):
        begun = time.monotonic()
        status, _ = answer_to(url, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status == 200
        times.append(time.monotonic() - begun)
    assert sorted(times)[10] < 0.1, times
    assert metric(url, "mixnmatch_running") > 0
    for sock in crowd:
        sock.close()


def full(url):
    """A server of 2 running and 2 waiting completions."""
    endless = {"model": "64x8", "prompt": "a", "max_tokens": 400, "ignore_eos": True}
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(lambda _: post(url, "/v1/completions", endless), range(16))
        )
    assert {status for status, _, _ in answers} == {200, 429}, answers
    status, body, _ = post(url, "/v1/completions", {**endless, "n": 5})
    assert (status, json.loads(body)["error"]["code"]) == (400, "too_many_completions")
    for status, body, headers in answers:
        if status == 429:
            assert int(headers["Retry-After"]) >= 1
            assert json.loads(body)["error"]["code"] == "queue_full"


def resident(url):
    """Memory after 10,000 requests is within 5 % of that after the first 1,000."""

    def thousand():
        def some(worker):
            at = urllib.parse.urlsplit(url)
            http_client = http.client.HTTPConnection(
                at.hostname, at.port, timeout=PATIENCE
            )
            headers = {
                "Content-Type": "application/json",
                "Authorization": f"Bearer {TOKEN}",
            }
            for i in range(125):
                body = {
                    "model": WIDTHS[(worker + i) % len(WIDTHS)],
                    "prompt": PROMPTS[i % len(PROMPTS)] + str(worker * 1000 + i),
                    "max_tokens": 2,
                    "stream": i % 2 == 0,
                }
                http_client.request(
                    "POST", "/v1/completions", json.dumps(body), headers
                )
                response = http_client.getresponse()
                response.read()
                assert response.status == 200
            http_client.close()

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(some, range(8)))

    thousand()
    first = metric(url, "process_resident_memory_bytes")
    for _ in range(9):
        thousand()
    last = metric(url, "process_resident_memory_bytes")
    print(
        f"resident: {first / 1e6:.1f} MB after 1,000 requests, {last / 1e6:.1f} after 10,000"
    )
    assert last < 1.05 * first, (first, last)


def stopping(url, pid):
    """SIGTERM under load: what is under way is finished, and nothing new is taken."""
    done = []

    def one(i):
        answer = post(
            url,
            "/v1/completions",
            {"model": "64x8", "prompt": "a", "max_tokens": 300, "ignore_eos": True},
        )
        done.append((i, answer[0], json.loads(answer[1])))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    until(lambda: metric(url, "mixnmatch_running") == 6)
    os.kill(int(pid), signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert len(done) == 6
    for _, status, body in done:
        assert status == 200 and body["usage"]["completion_tokens"] == 300
    try:
        connection(url).close()
        raise AssertionError("a connection was taken")
    except ConnectionRefusedError:
        pass


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
