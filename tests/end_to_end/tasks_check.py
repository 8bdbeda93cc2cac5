"""Tasks against a judge: tasks_check.py MIXNMATCH MODEL WIDTHS JUDGE

Makes questions and texts, scores a submodel of MODEL on them with mixnmatch, exports the submodel as
f32 for transformers, and asks the judge: `transformers` computes each request by itself, `lm_eval`
is lm-evaluation-harness. Log-likelihoods must agree request by request, within what rounding
explains of logits (the tolerance of the export's probe), and so must all metrics.
"""

import collections
import json
import math
import os
import pathlib
import re
import sqlite3
import subprocess
import sys
import tempfile

import numpy
import safetensors
from safetensors.numpy import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
PERPLEXITIES = ("word_perplexity", "byte_perplexity", "bits_per_byte")
WINDOW, PREFIX = 128, 10  # shorter than some texts and contexts; a line end


def questions():
    """Continuations of lines, choices of one letter, and what is easily got wrong."""
    text = (ROOT / "data/reference/held_out.txt").read_text()
    lines = [line for line in text.split("\n") if len(line) > 24]
    for i in range(24):
        parts = [lines[(7 * i + 3 * k) % len(lines)] for k in range(4)]
        choices = [part[12 : 16 + 2 * (k + i % 3)] for k, part in enumerate(parts)]
        yield {"context": parts[0][:12], "choices": choices, "gold": i % 4}
    for i in range(12):
        context = "\n".join(lines[5 * i : 5 * i + 1 + i % 2]) + "\nAnswer:"
        yield {"context": context, "choices": ["A", "B", "C", "D"], "gold": i % 4}
    yield {"context": "", "choices": ["import os", "\nimport"], "gold": 0}
    yield {"context": "def f(x): \t ", "choices": ["return x", "pass"], "gold": 1}
    yield {
        "context": "# caf\u00e9 \u2014 ",
        "choices": ["\u00e9t\u00e9", "na\u00efve", "x"],
        "gold": 2,
    }
    yield {"context": "  " + "long " * 60, "choices": ["yes", "no", "maybe"], "gold": 1}
    yield {"context": "same", "choices": ["same", "same"], "gold": 0}


def texts():
    text = (ROOT / "data/reference/held_out.txt").read_text()
    for length in (1, 40, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, 500):
        yield {"text": text[3 * length : 4 * length]}
    yield {
        "text": " two  words\n\u00a0\u2003and\x1cspaces ",
        "counted": "two words @-@ and",
    }


def lines_of(documents):
    return "".join(json.dumps(document) + "\n" for document in documents)


def flat(documents):
    """Each choice as a question of its own, so that the loss of a question is that of a request."""
    for document in documents:
        for choice in document["choices"]:
            yield {**document, "choices": [choice], "gold": 0}


class Ours:
    """What mixnmatch says of a submodel."""

    def __init__(self, program, model, widths, directory):
        self.program, self.model, self.widths = program, model, widths
        self.directory, self.store = directory, directory / "results.db"

    def run(self, *words):
        command = [self.program, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    def score(self, name, documents):
        lines, task = self.directory / f"{name}.jsonl", self.directory / f"{name}.task"
        lines.write_text(lines_of(documents))
        cut = ["--window", WINDOW, "--prefix", PREFIX, "--cut"]
        self.run("tasks", lines, "--model", self.model, "--out", task, *cut)
        told = ["--widths", self.widths, "--data", task, "--db", self.store, "--json"]
        return json.loads(self.run("eval", self.model, *told, "--threads", 1))[0]

    def of_documents(self, name, metric):
        """The values per document that the store keeps."""
        query = (
            "SELECT e.f32 FROM example_scores e JOIN record r ON r.id = e.record JOIN data d"
            " ON d.id = r.data WHERE e.metric = ? AND d.name LIKE ?"
        )
        store = sqlite3.connect(self.store)
        ((blob,),) = store.execute(query, (metric, f"{name}.task,%")).fetchall()
        store.close()
        return numpy.frombuffer(blob, "<f4").astype(float)

    def requests(self, name):
        """Log-likelihood, tokens, and whether each is the most likely, of documents of one answer
        or of texts."""
        task = load_file(self.directory / f"{name}.task")
        begin = task["document_begin"]
        tokens = numpy.add.reduceat(task["scored"], begin[:-1])
        loss, right = (self.of_documents(name, of) for of in ("loss", "accuracy"))
        return list(zip(-loss * tokens, tokens, right == 1, strict=True))

    def export(self):
        out = self.directory / "export"
        self.run(
            "export",
            self.model,
            "--widths",
            self.widths,
            "--out",
            out,
            "--dtype",
            "f32",
        )
        with safetensors.safe_open(out / "probe.safetensors", "numpy") as probe:
            return out, float(probe.metadata()["tolerance"])


class Transformers:
    """The protocol of lm-evaluation-harness, request by request, without batches or windows of
    anybody else's."""

    def __init__(self, export):
        import torch
        import transformers

        self.torch = torch
        read = transformers.AutoTokenizer.from_pretrained
        self.tokenizer = read(export, trust_remote_code=True)
        load = transformers.AutoModelForCausalLM.from_pretrained
        self.model = load(export, dtype=torch.float32, trust_remote_code=True)

    def request(self, context, continuation):
        tokens = (context + continuation)[-(WINDOW + 1) :]
        with self.torch.no_grad():
            logits = self.model(self.torch.tensor([tokens[:-1]])).logits[0]
        logs = logits.float().log_softmax(-1)[-len(continuation) :]
        targets = self.torch.tensor(continuation)
        likely = logs.gather(1, targets[:, None]).double().sum().item()
        return likely, bool((logs.argmax(-1) == targets).all())

    def encode(self, text):
        return self.tokenizer.encode(text)

    def choices(self, documents):
        for document in documents:
            context = document["context"].rstrip()
            space = document["context"][len(context) :]
            before = self.encode(context) if context else [PREFIX]
            for choice in document["choices"]:
                whole = self.encode(context + space + " " + choice)
                yield self.request(before, whole[len(before) if context else 0 :])

    def texts(self, documents):
        for document in documents:
            tokens = [PREFIX, *self.encode(document["text"])]
            likely, done = 0.0, 1
            while done < len(tokens):
                end = min(done + WINDOW, len(tokens))
                first = max(0, end - WINDOW - 1)
                likely += self.request(tokens[first:done], tokens[done:end])[0]
                done = end
            yield likely, None

    def metrics(self):
        return {}


class Harness:
    """lm-evaluation-harness: one run for all."""

    def __init__(self, export, directory):
        import lm_eval
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager

        for name, kind, metrics in (
            ("questions", "multiple_choice", ("acc", "acc_norm", "acc_bytes")),
            ("texts", "loglikelihood_rolling", PERPLEXITIES),
        ):
            of = {"questions": ["context", "gold", "choices"], "texts": ["", "text"]}
            text, target, *choice = of[name]
            config = {
                "task": f"{name}_of_ours",
                "dataset_path": "json",
                "dataset_kwargs": {
                    "data_files": {"test": str(directory / f"{name}.harness.jsonl")}
                },
                "test_split": "test",
                "output_type": kind,
                "doc_to_text": text,
                "doc_to_target": target,
                "metric_list": [{"metric": metric} for metric in metrics],
            }
            config |= {"doc_to_choice": choice[0]} if choice else {}
            (directory / f"{name}.yaml").write_text(json.dumps(config))
        model = HFLM(
            pretrained=str(export),
            dtype="float32",
            softmax_dtype="float32",
            device="cpu",
            batch_size=1,
            max_length=WINDOW,
            prefix_token_id=PREFIX,
            trust_remote_code=True,
        )
        self.results = lm_eval.simple_evaluate(
            model=model,
            tasks=["questions_of_ours", "texts_of_ours"],
            task_manager=TaskManager(
                include_path=str(directory), include_defaults=False
            ),
            num_fewshot=0,
            log_samples=True,
            bootstrap_iters=0,
        )

    def samples(self, name):
        found = self.results["samples"][f"{name}_of_ours"]
        return sorted(found, key=lambda sample: sample["doc_id"])

    def choices(self, _):
        for sample in self.samples("questions"):
            yield from sample["filtered_resps"]

    def texts(self, _):
        for sample in self.samples("texts"):
            yield sample["filtered_resps"][0], None

    def metrics(self):
        found = collections.ChainMap(*self.results["results"].values())
        return {
            key.split(",")[0]: value
            for key, value in found.items()
            if isinstance(value, float) and "stderr" not in key
        }


def chosen(likely, lengths):
    return int(numpy.argmax(numpy.array(likely) / numpy.array(lengths)))


def expected_metrics(likely, of_texts):
    """From the judge's log-likelihoods, by the definitions."""
    shares = collections.defaultdict(list)
    at = 0
    for document in questions():
        choices = document["choices"]
        mine = likely[at : at + len(choices)]
        at += len(choices)
        lengths = {
            "acc": [1] * len(choices),
            "acc_norm": [len(choice) for choice in choices],
            "acc_bytes": [len(choice.encode()) for choice in choices],
        }
        for metric, length in lengths.items():
            shares[metric].append(chosen(mine, length) == document["gold"])
    counted = [text.get("counted", text["text"]) for text in texts()]
    words = sum(len(re.split(r"\s+", text)) for text in counted)
    size = sum(len(text.encode()) for text in counted)
    loss = -sum(of_texts)
    expected = {metric: numpy.mean(values) for metric, values in shares.items()}
    return expected | {
        "word_perplexity": math.exp(loss / words),
        "byte_perplexity": math.exp(loss / size),
        "bits_per_byte": loss / size / math.log(2),
    }


def compare(name, ours, theirs, tolerance):
    """The largest difference, in nats."""
    worst = 0.0
    assert len(ours) == len(theirs), (name, len(ours), len(theirs))
    for i, ((likely, tokens, greedy), (judged, also)) in enumerate(
        zip(ours, theirs, strict=True)
    ):
        # Each logit is off by the tolerance, and so is the logarithm of the sum. Both programs round
        # their sums to f32.
        allowed = 2 * tolerance * tokens + 4 * 2.0**-24 * tokens * (1 + abs(judged))
        off = abs(likely - judged)
        assert off <= allowed, (name, i, likely, judged, allowed)
        assert also is None or bool(also) == bool(greedy), (name, i)
        worst = max(worst, off)
    return worst


def main(program, model, widths, judge, scratch):
    directory = pathlib.Path(scratch)
    ours = Ours(program, model, widths, directory)
    lines = list(questions())
    told = ours.score("questions", lines)
    ours.score("flat", flat(lines))
    of_texts = ours.score("texts", texts())
    assert told["protocol"].startswith(f"questions, window {WINDOW}, ")
    told |= {key: of_texts[key] for key in PERPLEXITIES}
    export, tolerance = ours.export()
    if judge == "lm_eval":
        (directory / "questions.harness.jsonl").write_text(lines_of(lines))
        # It counts the words of what it scores, unless a task brings code of its own.
        same = [{"text": text["text"]} for text in texts()]
        (directory / "texts.harness.jsonl").write_text(lines_of(same))
        plain = ours.score("plain", same)
        other = Harness(export, directory)
    else:
        other = Transformers(export)
    choices = list(other.choices(lines))
    rolled = list(other.texts(texts()))
    worst = compare("question", ours.requests("flat"), choices, tolerance)
    worst = max(worst, compare("text", ours.requests("texts"), rolled, tolerance))
    # Choices that share their context have the losses that they have alone.
    alone = iter(choices)
    of_right = ours.of_documents("questions", "loss")
    of_flat = iter(ours.requests("flat"))
    for document, loss in zip(lines, of_right, strict=True):
        judged = [next(alone)[0] for _ in document["choices"]][document["gold"]]
        tokens = [next(of_flat)[1] for _ in document["choices"]][document["gold"]]
        allowed = 2 * tolerance * tokens + 4 * 2.0**-24 * tokens * (1 + abs(judged))
        assert abs(-loss * tokens - judged) <= allowed, (document, loss, judged)
    expected = expected_metrics([one for one, _ in choices], [one for one, _ in rolled])
    for metric, value in expected.items():
        assert math.isclose(told[metric], value, rel_tol=1e-5), (metric, told, value)
    for metric, value in other.metrics().items():
        mine = plain[metric] if metric in PERPLEXITIES else told[metric]
        assert math.isclose(mine, value, rel_tol=1e-5), (metric, mine, value)
    print(
        f"{judge}: {len(choices)} choices and {len(rolled)} texts agree, the worst within"
    )
    print(f"{worst:.2g} nats; {told['protocol']}; acc {told['acc']:.4f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HF_HOME"] = scratch  # what libraries cache
        main(*sys.argv[1:], scratch)
