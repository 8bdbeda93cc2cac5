"""What the judges of `mixnmatch serve` share: clients of its protocol, and its metrics."""

import http.client
import json
import socket
import time
import urllib.parse
from contextlib import closing

import openai
from prometheus_client.parser import text_string_to_metric_families

TOKEN = "a-secret-of-tests"
PROMPTS = [
    "def main(",
    "    return ",
    "import os\n\n",
    "class ",
    "for i in ran",
    "    if ",
]
# In seconds: a machine that is busy takes its time, and only what never comes is a fault.
PATIENCE = 1800
WIDTHS = ["64x8", "128x8", "64x4,256x4", "256x8", "512x8", "reference"]


def client_of(url):
    return openai.OpenAI(
        base_url=url + "/v1", api_key=TOKEN, max_retries=0, timeout=PATIENCE
    )


def connection(url):
    at = urllib.parse.urlsplit(url)
    return socket.create_connection((at.hostname, at.port), timeout=PATIENCE)


def answer_to(url, data, shut=False):
    """Status and body of the answer to raw bytes; (0, b"") where the server only closes."""
    with closing(connection(url)) as sock:
        sock.sendall(data)
        if shut:
            sock.shutdown(socket.SHUT_WR)
        try:
            response = http.client.HTTPResponse(sock)
            response.begin()
            return response.status, response.read()
        except (http.client.HTTPException, ConnectionError):
            return 0, b""


def post(url, path, body, **headers):
    at = urllib.parse.urlsplit(url)
    http_client = http.client.HTTPConnection(at.hostname, at.port, timeout=PATIENCE)
    everything = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {TOKEN}",
        **headers,
    }
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    http_client.request("POST", path, data, everything)
    response = http_client.getresponse()
    result = response.status, response.read(), dict(response.getheaders())
    http_client.close()
    return result


def get(url, path):
    at = urllib.parse.urlsplit(url)
    http_client = http.client.HTTPConnection(at.hostname, at.port, timeout=PATIENCE)
    http_client.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
    text = http_client.getresponse().read().decode()
    http_client.close()
    return text


def metric(url, name, **labels):
    text = get(url, "/metrics")
    total = 0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                total += sample.value
    return total


def until(condition, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.02)
