"""ONNX exports as onnxruntime and onnxruntime-genai run them.

usage: onnx_check.py agree DIR...           each against its probe: scorer, decoder step by step and
                                            padded, onnxruntime-genai
       onnx_check.py loss DIR TOKENS CONTEXT
                                            prints the mean loss of a file of bytes
       onnx_check.py generate DIR COUNT FULL PROMPT...
                                            onnxruntime-genai's greedy text, of which transformers
                                            finds each token the likeliest, from FULL, a Hugging Face
                                            export of the same submodel; prints the tokens, one line
                                            each prompt

Exits with 1 where one disagrees, with 77 where a runtime is not installed.
"""

import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests/support")]

try:
    import onnx
    import onnxruntime_genai
    from onnx_sessions import session_of
except ImportError as error:
    print(error)
    sys.exit(77)

import verify

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Decoder:
    """model.onnx with the cache that it gave last."""

    def __init__(self, directory, batch):
        self.session = session_of(directory / "model.onnx")
        self.past = {
            one.name: np.zeros((batch, one.shape[1], 0, one.shape[3]), TYPES[one.type])
            for one in self.session.get_inputs()
            if one.name.startswith("past_key_values.")
        }
        self.outputs = [one.name for one in self.session.get_outputs()]

    def step(self, tokens, mask, positions):
        feed = {
            "input_ids": np.array(tokens, np.int64),
            "attention_mask": np.array(mask, np.int64),
            "position_ids": np.array(positions, np.int64),
        }
        results = dict(zip(self.outputs, self.session.run(None, feed | self.past)))
        for name in self.past:
            self.past[name] = results["present" + name.removeprefix("past_key_values")]
        return results["logits"]


def in_steps(directory, tokens):
    """A few tokens at once, then some, then one after another."""
    decoder, logits, begin = Decoder(directory, 1), [], 0
    ends = [3, 8, *range(9, len(tokens) + 1)] if len(tokens) > 9 else [len(tokens)]
    for end in ends:
        part = [tokens[begin:end]]
        logits.append(decoder.step(part, [[1] * end], [range(begin, end)])[0])
        begin = end
    return np.concatenate(logits)


def padded(directory, tokens):
    """The tokens beside a longer row, with padding at their left; then one more step of both."""
    short = len(tokens) - 5
    mask = np.ones((2, len(tokens) - 1), np.int64)
    mask[1, :4] = 0
    rows = [tokens[:-1], [0] * 4 + tokens[:short]]
    decoder = Decoder(directory, 2)
    positions = np.maximum(mask.cumsum(1) - 1, 0)
    first = decoder.step(rows, mask, positions)
    mask = np.concatenate([mask, [[1], [1]]], 1)
    then = decoder.step([[tokens[-1]], [tokens[short]]], mask, positions[:, -1:] + 1)
    return np.concatenate([first[1, 4:], then[1]])


def check(directory):
    probe = verify.read_probe(directory)
    limit = probe.operand_tolerance

    def compare(what, logits):
        worst = np.abs(logits.astype(np.float64) - probe.logits[: len(logits)]).max()
        assert worst <= limit, (
            f"{what} is off by {worst:.3g}, explained are {limit:.3g}"
        )
        return worst

    worst = [
        compare("the scorer", verify.run_onnxruntime(directory, probe.tokens)),
        compare("the decoder", in_steps(directory, probe.tokens)),
        compare("the padded decoder", padded(directory, probe.tokens)),
        compare("genai", verify.run_onnxruntime_genai(directory, probe.tokens)),
    ]
    data = (directory / "model.onnx.data").stat().st_size
    for name in ("scorer.onnx", "model.onnx"):
        onnx.checker.check_model(str(directory / name), full_check=True)
        model = onnx.load(directory / name, load_external_data=False)
        layers = json.loads((directory / "genai_config.json").read_text())
        layers = layers["model"]["decoder"]["num_hidden_layers"]
        nodes = {node.name for node in model.graph.node}
        assert len(nodes) == len(model.graph.node), "two nodes of one name"
        for layer in range(layers):
            assert f"/layers.{layer}/mlp/down_proj/Gemm" in nodes
        for tensor in model.graph.initializer:
            if tensor.data_location != onnx.TensorProto.EXTERNAL:
                assert len(tensor.raw_data) < 4096, tensor.name
                continue
            entries = {entry.key: entry.value for entry in tensor.external_data}
            assert entries["location"] == "model.onnx.data"
            assert int(entries["offset"]) % 4096 == 0
            assert int(entries["offset"]) + int(entries["length"]) <= data
        notes = {entry.key: entry.value for entry in model.metadata_props}
        provenance = json.loads(notes["mixnmatch.provenance"])
        assert notes["mixnmatch.widths"] == probe.widths == provenance["widths"]
        assert len(notes["mixnmatch.source"]) == 32
        assert provenance["cost"]["params"] > 0
    print(f"{directory.name}: worst {max(worst):.3g}, explained {limit:.3g}")


def agree(directories):
    failed = 0
    for directory in map(Path, directories):
        try:
            check(directory)
        except (verify.Failure, AssertionError) as error:
            print(f"{directory}: {type(error).__name__}: {error}")
            failed += 1
    return 1 if failed else 0


def loss(directory, tokens, context):
    tokens = np.frombuffer(Path(tokens).read_bytes(), np.uint8).astype(np.int64)
    context = int(context)
    count = (len(tokens) - 1) // context
    session = session_of(Path(directory) / "scorer.onnx")
    total = 0.0
    for i in range(count):
        piece = tokens[i * context : (i + 1) * context + 1]
        logits = session.run(None, {"input_ids": piece[None, :-1]})[0][0]
        logits = logits.astype(np.float64)
        logits -= logits.max(axis=-1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        total -= logs[np.arange(context), piece[1:]].mean()
    print(float(total / count))
    return 0


def generate(directory, count, full, *prompts):
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    model = onnxruntime_genai.Model(directory)
    judge = transformers.AutoModelForCausalLM.from_pretrained(
        full, dtype=torch.float32, trust_remote_code=True, local_files_only=True
    )
    for prompt in prompts:
        encoded = onnxruntime_genai.Tokenizer(model).encode(prompt)
        tokens = [int(token) for token in encoded]
        settings = onnxruntime_genai.GeneratorParams(model)
        settings.set_search_options(
            max_length=len(tokens) + int(count), do_sample=False
        )
        generator = onnxruntime_genai.Generator(model, settings)
        generator.append_tokens(np.array([tokens], np.int32))
        made = []
        while not generator.is_done():
            generator.generate_next_token()
            made.append(int(generator.get_next_tokens()[0]))
        assert len(made) == int(count)
        # In one pass over all of it: a text is greedy if each token is the likeliest after those
        # before it.
        with torch.inference_mode():
            logits = judge(torch.tensor([tokens + made[:-1]])).logits[0]
        theirs = logits[len(tokens) - 1 :].argmax(-1).tolist()
        if made != theirs:
            print(f"genai generates {made}, transformers after the same {theirs}")
            return 1
        print(",".join(map(str, made)))
    return 0


if __name__ == "__main__":
    modes = {"agree": lambda *rest: agree(rest), "loss": loss, "generate": generate}
    sys.exit(modes[sys.argv[1]](*sys.argv[2:]))
