"""Calls of a fast tokenizer of `transformers`, and everything that can be seen of their results."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import transformers
from oracle_texts import EDGE_TEXTS, random_texts
from trained_files import CORPUS

Call = Callable[[Any], Any]
TEMPLATE = (
    "{% for m in messages %}{{ bos_token or '' }}{{ m['role'] }}: {% if m['role'] == 'assistant' %}{% generation %}"
    "{{ m['content'] }}{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello world, how are you today?"},
    {"role": "assistant", "content": " I am naïve.\n"},
    {"role": "user", "content": "日本語 <s> </s> [SEP]"},
]


def seen(encoding: transformers.BatchEncoding) -> dict[str, Any]:
    """The arrays of a BatchEncoding, and all that it says of words and characters."""
    found = {key: _lists(value) for key, value in encoding.items()}
    if not encoding.is_fast:
        return found
    found["parts"] = [
        (e.tokens, e.word_ids, e.sequence_ids, e.offsets, e.special_tokens_mask, len(e.overflowing))
        for e in encoding.encodings
    ]
    maps = []
    for row, part in enumerate(encoding.encodings):
        places = [*range(min(len(part.ids), 12)), len(part.ids) - 1] if part.ids else []
        maps += [(encoding.token_to_sequence(row, n), encoding.token_to_word(row, n)) for n in places]
        maps += [encoding.token_to_chars(row, n) for n in places]
        for sequence in (0, 1):
            maps += [encoding.char_to_token(row, n, sequence) for n in (0, 1, 2, 5, 9)]
            maps += [encoding.word_to_tokens(row, n, sequence) for n in (0, 1, 4)]
            maps += [(part.word_to_chars(n, sequence), encoding.char_to_word(row, n, sequence)) for n in (0, 1, 4)]
    return found | {"maps": maps}


def _lists(value: Any) -> Any:
    value = value.tolist() if hasattr(value, "tolist") else value
    return [_lists(item) for item in value] if isinstance(value, list) else value


def answer(call: Call, tokenizer: Any) -> Any:
    """What a call gives; that it fails is an answer too. A panic of the peer is a failure."""
    try:
        found = call(tokenizer)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        return "fails"
    return seen(found) if isinstance(found, transformers.BatchEncoding) else found


def texts_for(tokenizer: Any, draw: random.Random, n_texts: int) -> list[str]:
    """Sentences, edge cases and random strings, some with tokens of the tokenizer in them."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values()] or ["<s>"]
    texts = [*draw.sample(CORPUS, 3), *draw.sample(EDGE_TEXTS, 4), *random_texts(draw.randrange(2**60), 3, 12)]
    for place in range(0, len(texts), 2):
        at = draw.randrange(len(texts[place]) + 1)
        texts[place] = texts[place][:at] + draw.choice(["", " "]) + draw.choice(added) + texts[place][at:]
    draw.shuffle(texts)
    return [text[:400] for text in texts[:n_texts]]


def random_options(draw: random.Random) -> dict[str, Any]:
    """Keyword arguments of a call, some of which contradict each other or the texts."""
    options: dict[str, Any] = {}

    def maybe(share: float, name: str, *values: Any) -> None:
        if draw.random() < share:
            options[name] = draw.choice(values)

    maybe(0.5, "padding", True, False, "longest", "max_length")
    maybe(0.6, "truncation", True, False, "longest_first", "only_first", "only_second", "do_not_truncate")
    maybe(0.7, "max_length", 0, 2, 4, 5, 7, 9, 14, 30, 60)
    maybe(0.3, "stride", 0, 1, 2, 3)
    maybe(0.2, "pad_to_multiple_of", 1, 4, 8)
    maybe(0.3, "padding_side", "left", "right")
    maybe(0.3, "add_special_tokens", True, False)
    maybe(0.2, "split_special_tokens", True, False)
    for name in ("overflowing_tokens", "special_tokens_mask", "offsets_mapping", "length"):
        maybe(0.4, f"return_{name}", True)
    for name in ("token_type_ids", "attention_mask"):
        maybe(0.3, f"return_{name}", True, False)
    if options.get("padding") and "return_overflowing_tokens" not in options:
        maybe(0.2, "return_tensors", "np")
    return options


def random_call(tokenizer: Any, draw: random.Random) -> tuple[str, Call]:
    """A call of a random form with random arguments, and its description."""
    texts = texts_for(tokenizer, draw, draw.randrange(1, 5))
    others = texts_for(tokenizer, draw, len(texts))
    words = [text.split() for text in texts]
    other_words = [text.split() for text in others]
    options = random_options(draw)
    form, arguments = draw.choice(
        [
            ("text", {"text": texts[0]}),
            ("pair", {"text": texts[0], "text_pair": others[0]}),
            ("batch", {"text": texts}),
            ("batch of pairs", {"text": texts, "text_pair": others}),
            ("tuples", {"text": list(zip(texts, others, strict=True))}),
            ("target", {"text": texts, "text_target": others}),
            ("target alone", {"text_target": texts[0]}),
            ("words", {"text": words[0], "is_split_into_words": True}),
            ("batch of words", {"text": words, "is_split_into_words": True}),
            ("pairs of words", {"text": words, "text_pair": other_words, "is_split_into_words": True}),
        ]
    )
    truncation_side = draw.choice(["left", "right"])

    def call(t: Any) -> Any:
        t.truncation_side = truncation_side
        return t(**arguments, **options)

    return f"{form} {truncation_side} {arguments} {options}", call


def decodings(texts: list[str]) -> dict[str, Call]:
    """What is asked of ids, tokens and the vocabulary."""

    def chat(**options: Any) -> Call:
        return lambda t: t.apply_chat_template(CHAT, chat_template=TEMPLATE, **options)

    def decode(**options: Any) -> Call:
        return lambda t: [t.decode(t.encode(text), **options) for text in texts]

    return {
        "decode": decode(),
        "decode without special tokens": decode(skip_special_tokens=True),
        "decode with clean-up": decode(clean_up_tokenization_spaces=True),
        "decode without clean-up": decode(clean_up_tokenization_spaces=False, skip_special_tokens=True),
        "decode a batch": lambda t: t.batch_decode(t(texts)["input_ids"], skip_special_tokens=True),
        "decode arrays": lambda t: t.batch_decode(t(texts, padding=True, return_tensors="np")["input_ids"]),
        "decode one id": lambda t: [t.decode(id) for id in range(0, len(t), max(1, len(t) // 50))],
        "tokenize": lambda t: [(t.tokenize(text), t.tokenize(text, add_special_tokens=True)) for text in texts],
        "tokens of ids": lambda t: t.convert_ids_to_tokens(list(range(0, len(t), max(1, len(t) // 300)))),
        "tokens that are not special": lambda t: t.convert_ids_to_tokens(list(range(40)), skip_special_tokens=True),
        "ids of tokens": lambda t: t.convert_tokens_to_ids(["a", "[SEP]", "</s>", "none", "Ġthe", "▁the"]),
        "text of tokens": lambda t: t.convert_tokens_to_string(["a", "##b", "Ġc", "▁d", "e</w>", "!"]),
        "sizes": lambda t: (len(t), t.vocab_size, t.all_special_ids, t.all_special_tokens, t.special_tokens_map),
        "added tokens": lambda t: {id: repr(token) for id, token in t.added_tokens_decoder.items()},
        "special tokens to add": lambda t: (t.num_special_tokens_to_add(), t.num_special_tokens_to_add(pair=True)),
        "chat": chat(tokenize=False, add_generation_prompt=True),
        "chat ids": chat(return_dict=True),
        "chat mask": chat(return_dict=True, return_assistant_tokens_mask=True),
        "sanitized chat": chat(return_dict=True, sanitize_control_tokens=True),
        "padded afterwards": lambda t: t.pad([t(text) for text in texts], padding=True, pad_to_multiple_of=4),
        "prepared": lambda t: t.pad(t(texts, truncation=True, max_length=6), padding="max_length", max_length=9),
    }
