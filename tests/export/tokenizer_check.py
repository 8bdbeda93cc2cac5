"""Whether transformers reads a byte-level tokenizer.json: token i is byte i, and text comes back.

usage: tokenizer_check.py DIR
"""

import random
import sys

from transformers import AutoTokenizer, PreTrainedTokenizerFast


def main():
    directory = sys.argv[1]
    fast = PreTrainedTokenizerFast(tokenizer_file=f"{directory}/tokenizer.json")
    auto = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    chance = random.Random(1)
    # Every scalar value below U+0800 by itself, the ends of the planes, and text of all of them.
    letters = [chr(c) for c in range(0x800)] + list("\ue000\uffff\U00010000\U0010ffff")
    texts = letters + ["", "a  b .\n\t 'll ,", "def f(x):\r\n    return  x\n"]
    texts += ["".join(chance.choices(letters, k=300)) for _ in range(200)]
    for text in texts:
        for tokenizer in (fast, auto):
            ids = tokenizer(text)["input_ids"]
            assert ids == list(text.encode()), (text, ids)
            back = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
            assert back == text, (text, back)
        assert auto.decode(ids) == text, (text, auto.decode(ids))
    assert len(auto) == len(fast) == 256
    print(f"{len(texts)} texts come back")


if __name__ == "__main__":
    main()
