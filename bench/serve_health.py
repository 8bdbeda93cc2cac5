"""How long `GET /health` of `mixnmatch serve` takes, beside idle connections and beside load.

The connections to /health are new ones, as those of a load balancer are. "In all" is what a client
sees. "Without waiting for a core" leaves out how long the server's thread of the network and the
client stood ready while something else ran, as the kernel counts it (/proc/PID/task/TID/schedstat):
other programs decide that, and so do the server's own threads that compute.

usage: .venv/bin/python bench/serve_health.py [--model DIR] [--idle 10000] [--clients 64]
"""

import argparse
import multiprocessing
import pathlib
import resource
import socket
import time

from serve_load import PROGRAM, Server, load

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
HEAD = (
    "| idle connections | clients | /health in all, ms: median | 99th percentile | most "
    "| without waiting for a core: median | 99th percentile | most |\n"
    "|---|---|---|---|---|---|---|---|"
)


def ask(address):
    with socket.create_connection(address) as sock:
        sock.sendall(HEALTH)
        answer = b""
        while data := sock.recv(1 << 12):
            answer += data
    if not answer.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"/health says {answer!r}")


def of_thread(task):
    """Nanoseconds that a thread has run, and that it has waited for a core."""
    run, waited, _ = (task / "schedstat").read_text().split()
    return int(run), int(waited)


def network_thread(pid, address):
    """The thread that answers: of those of a server that computes nothing, the one that runs."""
    tasks = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
    before = {task: of_thread(task)[0] for task in tasks}
    for _ in range(300):
        ask(address)
    return max(tasks, key=lambda task: of_thread(task)[0] - before[task])


def measure(address, network, requests):
    """Milliseconds of each request: in all, and without waiting for a core."""
    threads = [network, pathlib.Path("/proc/thread-self")]
    in_all, without = [], []
    for _ in range(requests):
        waited = sum(of_thread(thread)[1] for thread in threads)
        start = time.monotonic()
        ask(address)
        took = 1e3 * (time.monotonic() - start)
        waited = 1e-6 * (sum(of_thread(thread)[1] for thread in threads) - waited)
        in_all.append(took)
        without.append(max(0.0, took - waited))
        time.sleep(0.01)
    return in_all, without


def spread(times):
    times = sorted(times)
    last = len(times) - 1
    shown = (times[last // 2], times[int(0.99 * last)], times[last])
    return " | ".join(f"{value:.2f}" for value in shown)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="data/reference")
    parser.add_argument("--program", default=PROGRAM)
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--requests", type=int, default=500, help="of each row")
    parser.add_argument(
        "--threads", type=int, default=1, help="of the server's arithmetic"
    )
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    idle = min(options.idle, most - 200 - options.clients)
    arguments = [options.model, "--max-connections", idle + 1000]
    arguments += ["--max-running", options.clients, "--threads", options.threads]
    with Server(arguments, options.program) as server:
        network = network_thread(server.process.pid, server.address)
        whole = server.models()[1]["id"]
        print(HEAD)
        for crowd, clients in (
            (0, 0),
            (idle, 0),
            (0, options.clients),
            (idle, options.clients),
        ):
            sockets = [socket.create_connection(server.address) for _ in range(crowd)]
            load_of = multiprocessing.Process(
                target=load, args=(server.address, whole, clients, 3600, 512)
            )
            load_of.start()
            time.sleep(2)  # all connections are taken, and all clients get tokens
            in_all, without = measure(server.address, network, options.requests)
            if not load_of.is_alive():
                raise SystemExit("the load ended before /health was measured")
            load_of.terminate()
            load_of.join()
            for sock in sockets:
                sock.close()
            print(
                f"| {crowd} | {clients} | {spread(in_all)} | {spread(without)} |",
                flush=True,
            )
            time.sleep(1)  # what was cut off ends


if __name__ == "__main__":
    main()
