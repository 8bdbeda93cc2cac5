"""Whether a SentencePiece vocabulary in GGUF's terms splits text as the checkpoint's tokenizer does.

usage: sentence_piece_check.py make DIR CORPUS; sentence_piece_check.py judge DIR FIELDS

`make` trains one, with every merge that makes a token, as converters from SentencePiece list them.
`judge` merges by scores, as llama.cpp's llm_tokenizer_spm does, with the fields that were written
(JSON: "tokens", "scores", "space"), and compares with the tokenizers package on hostile texts.
"""

import heapq
import json
import sys
from pathlib import Path

from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).parent.parent / "text"))
import steps_check
import tokenizer_check

SPACE = tokenizer_check.SPACE


def with_every_merge(tokenizer):
    """The JSON of a tokenizer with every merge that makes one of its tokens, as public files have it:
    also those that it adds, which are words of its model; and no token that holds one of them."""
    model, added = tokenizer["model"], tokenizer["added_tokens"]
    special = [token["content"] for token in added]
    words = [t for t in model["vocab"] if t not in special]
    held = [t for t in words if any(s in t for s in [*special, "\0"])]
    for token in held:  # in whose place is a character of nobody's
        number = model["vocab"].pop(token)
        model["vocab"][chr(0xF0000 + number)] = number
    model["vocab"] |= {token["content"]: token["id"] for token in added}
    vocabulary, merges, made = model["vocab"], [], set()
    for token in [*map("".join, model["merges"]), *special]:
        if token in made or token not in vocabulary:
            continue
        made.add(token)
        parts = ([token[:i], token[i:]] for i in range(1, len(token)))
        known = [p for p in parts if all(part in vocabulary for part in p)]
        merges += sorted(known, key=lambda p: [vocabulary[part] for part in p])
    model["merges"] = merges
    return tokenizer


def make(root, corpus):
    decoders = [
        steps_check.replace("String", SPACE, " "),
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]
    tokenizer = json.loads(
        tokenizer_check.sentence_piece(
            corpus.read_text(),
            decoder={"type": "Sequence", "decoders": decoders},
            normalizer=steps_check.normalizer_sequence(
                {"type": "Prepend", "prepend": SPACE},
                steps_check.replace("String", " ", SPACE),
            ),
        ).to_str()
    )
    (root / "tokenizer.json").write_text(json.dumps(with_every_merge(tokenizer)))


def tokens_of(text, fields):
    ids = {token: i for i, token in enumerate(fields["tokens"])}
    text = ((" " if fields["space"] else "") + text).replace(" ", SPACE)
    symbols, queue = list(text), []
    before = list(range(-1, len(text) - 1))
    after = [*range(1, len(text)), -1]

    def consider(left, right):
        token = (
            ids.get(symbols[left] + symbols[right]) if min(left, right) >= 0 else None
        )
        if token is not None:
            entry = (-fields["scores"][token], left, right, fields["tokens"][token])
            heapq.heappush(queue, entry)

    for i in range(1, len(text)):
        consider(i - 1, i)
    while queue:
        _, left, right, token = heapq.heappop(queue)
        if not symbols[right] or symbols[left] + symbols[right] != token:
            continue
        symbols[left], symbols[right] = token, ""
        after[left] = after[right]
        if after[left] >= 0:
            before[after[left]] = left
        consider(before[left], left)
        consider(left, after[left])
    out = []
    for symbol in filter(None, symbols):
        parts = [symbol] if symbol in ids else [f"<0x{b:02X}>" for b in symbol.encode()]
        out += [ids[part] for part in parts]
    return out


def judge(root, fields):
    tokenizer = Tokenizer.from_file(str(root / "tokenizer.json"))
    texts = tokenizer_check.texts("some words  and more\n" * 1000, "scores")
    for text in filter(None, texts):
        expected = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokens_of(text, fields) == expected, (text, expected)
    print(len(texts), "texts")


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        judge(Path(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text()))
