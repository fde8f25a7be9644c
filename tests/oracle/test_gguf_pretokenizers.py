"""Each pre-tokenizer name of a GGUF file cuts where llama.cpp's source says, and names unknown are refused.

The table is written anew from ``src/llama-vocab.cpp`` of llama.cpp (the one in llama-cpp-python 0.3.36): which names
share a pattern, the patterns in their order, and the flags. Where that program approximates a published pattern, for it
knows no upper case and folds ASCII only, the one that it quotes as the original stands here. The texts are cut by the
``regex`` package: each pattern cuts what the ones before it left, and what lies between matches is a piece.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
import regex
import tokenloom as tl
from oracle_texts import EDGE_TEXTS, random_texts
from tokenloom.compat import tokenizers as compat

ENDINGS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LINES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
MARKS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*")
CASED_ENDINGS = "|".join(f"{pattern}{ENDINGS}?" for pattern in CASED)
ASCII_MARK = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"

GPT2 = [r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"]
LLAMA3 = [rf"{ENDINGS}|{WORD}|\p{{N}}{{1,3}}|{MARKS}|{LINES}"]
QWEN2 = [rf"{ENDINGS}|{WORD}|\p{{N}}|{MARKS}|{LINES}"]
O200K = [rf"{CASED_ENDINGS}|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{LINES}"]
THREES_AND_CJK = [r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+"]
BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"
HAN = r"[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
# Han apart from words, as the program does by hand for one name.
KIMI_WORDS = "|".join(
    rf"[^\r\n\p{{L}}\p{{N}}]?(?:(?!\p{{Han}}){UPPER}){upper}(?:(?!\p{{Han}}){LOWER}){lower}{ENDINGS}?"
    for upper, lower in (("*", "+"), ("+", "*"))
)
YOUTU = (
    r"[\uac00-\ud7a3\u3131-\u318e]+|[！…“”‘’—：；，\u3001-\u303f\ufe30-\ufe4f]+|[\u3105-\u312f]+"
    r"|[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
)
JAIS2_SPACES = "|".join([*(rf"\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4)), r"\s{1,2}(?!\S)|\s{1}"])

LETTERS = (
    r"A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373"
    r"\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481"
    r"\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b"
    r"\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b"
    r"\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb"
    r"\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128"
    r"\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4"
    r"\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf"
    r"\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3"
    r"\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df"
    r"\U0001e900-\U0001e943"
)

# Names, patterns, and what the name switches on: b(eginning of sequence), s(eparator), i(gnores merges).
GROUPS = [
    (
        "gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert mpt olmo jais trillion "
        "granite-docling exaone4",
        GPT2,
        "",
    ),
    ("jina-v1-en jina-v2-code roberta-bpe", GPT2, "s"),
    ("starcoder refact command-r smollm codeshell exaone minerva-7b mellum2", [r"\p{N}", *GPT2], ""),
    ("llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano", LLAMA3, "bi"),
    ("glm4 glm5", LLAMA3, "i"),
    ("dbrx smaug-bpe chatglm-bpe", LLAMA3, ""),
    ("jais-2", [rf"{ENDINGS}|{WORD}|\p{{N}}{{1,3}}|{MARKS}|\s*[\r\n]+|{JAIS2_SPACES}"], ""),
    ("stablelm2 qwen2 deepseek-r1-qwen kormo f2llmv2 megrez hunyuan solar-open grok-2", QWEN2, ""),
    (
        "qwen35",
        [
            rf"{ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{LINES}",
        ],
        "",
    ),
    ("ufakzeka", [rf"{WORD}|\p{{N}}|{MARKS}|{LINES}"], ""),
    ("laguna", [r"[^\n]+|[\n]+", *QWEN2], ""),
    ("minicpm5", [r"\p{N}{1,3}", rf"{ENDINGS}|{WORD}|\p{{N}}+|{MARKS}|{LINES}"], "i"),
    ("seed-coder", [rf"{ENDINGS}|{WORD}|\p{{N}}{{1}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{LINES}"], ""),
    (
        "bailingmoe bailingmoe2 llada-moe",
        [
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]"
            r"|\s+(?!\S)|\s+",
        ],
        "",
    ),
    (
        "exaone-moe",
        [
            rf"{ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+|\p{{N}}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
        ],
        "",
    ),
    ("gpt-4o llama4 kanana2 talkie minimax-m2", O200K, ""),
    ("granite-embed-multi-97m", O200K, "i"),
    # Written ``\b``; there digits of other kinds, as in 3², are word characters.
    ("tiny_aya cohere2moe", [r"\d{1,3}(?=(?:\d{3})*(?![\w\p{N}]))", *O200K], ""),
    ("tekken", [rf"{CASED[0]}|{CASED[1]}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{LINES}"], "bi"),
    ("youtu", [YOUTU, rf"{CASED_ENDINGS}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{LINES}"], "i"),
    ("kimi-k2", [rf"\p{{Han}}+|{KIMI_WORDS}|\p{{N}}{{1,3}}|{MARKS}|{LINES}"], ""),
    (
        "deepseek-v3 hunyuan-dense joyai-llm hy_v4",
        [
            *THREES_AND_CJK,
            rf"{ASCII_MARK}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+[\r\n]*|{LINES}",
        ],
        "",
    ),
    (
        "spark2_5",
        [
            *THREES_AND_CJK,
            rf"{ASCII_MARK}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+|[\r\n]"
            r"|\s+(?!\S)|\s+",
            r"\p{N}",
        ],
        "",
    ),
    (
        "deepseek-llm",
        [r"[\r\n]", rf"\s?[{LETTERS}]+", r"\s?[!-/:-~！-／：-～‘-‟\u3000-。]+", r"\s+\Z", HAN, r"\p{N}+"],
        "",
    ),
    ("deepseek-coder", [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", HAN, r"\p{N}"], ""),
    ("poro-chat bloom gpt3-finnish", [BLOOM], ""),
    ("viking", [BLOOM, r"\p{N}"], ""),
    ("falcon", [r"[\p{P}\$\+<=>\^~\|`]+", *GPT2, "[0-9][0-9][0-9]"], ""),
    (
        "chameleon",
        [
            "<sentinel:[0-9]+>",
            "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
            r"([\t\n]|    |  )",
            r"\p{N}",
            r"[\p{P}!-/:-@\[-`{-~]",
            *GPT2,
        ],
        "b",
    ),
    ("superbpe", [r"\p{N}+", r"(?=(\d{3})+(?!\d))"], ""),
    ("default", [r"[\p{P}\$\+<=>\^~\|]+", *GPT2, r"\p{N}+", "[0-9][0-9][0-9]"], ""),
]
REFUSED = ("afmoe", "gemma4", "granite-embed-multi-311m", "sarvam-moe", "whitespace", "llama", "gpt2", "GPT-2", "qwen3")
TEXTS = [
    *EDGE_TEXTS,
    *random_texts(77, 40),
    "I'LL we'Re it's x 1234567 12 345678901 ½²¾ <sentinel:12> IMGIMGABCZ  \t\n    a\r\n\r\n  end   ",
    "CamelCase HTTPServer ÉCOLE école dž ʰa 中文汉字 한국어 ひらがな カタカナ ㄅㄆ é́ (a|b).,!? a/b//\n/c $+<=>^~|`",
    "x" + " " * 70 + "y" + "\n" * 5 + " \t \n z   ",
]


# Both sides know the characters that have been assigned for long; the newest ones only one of them may.
TEXTS = ["".join(filter(lambda c: unicodedata.category(c) != "Cn", text)) for text in TEXTS]


def pieces(text: str, patterns: list[str]) -> list[str]:
    found = [text] if text else []
    for pattern in patterns:
        compiled = regex.compile(pattern)
        found = [piece for part in found for piece in cut(part, compiled)]
    return found


def cut(text: str, pattern: regex.Pattern[str]) -> Iterator[str]:
    done = 0
    for match in pattern.finditer(text):
        yield from filter(None, (text[done : match.start()], match.group()))
        done = match.end()
    yield from filter(None, (text[done:],))


def written(name: str | None, path: Path) -> Path:
    import gguf

    writer = gguf.GGUFWriter(path, "any")
    writer.add_tokenizer_model("gpt2")
    if name is not None:
        writer.add_tokenizer_pre(name)
    letters = [chr(byte) for byte in range(256) if chr(byte).isprintable() and byte not in (32, 173)]
    letters += [chr(256 + n) for n in range(256 - len(letters))]
    tokens = [*letters, "aa", "aaa", "<begin>", "<end>", "<sep>"]
    writer.add_token_list(tokens)
    writer.add_token_types([1] * 258 + [3] * 3)
    writer.add_token_merges(["a a"])
    writer.add_bos_token_id(258)
    writer.add_eos_token_id(259)
    writer.add_sep_token_id(260)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


NAMED = [(name, patterns, flags) for names, patterns, flags in GROUPS for name in names.split()]


@pytest.mark.parametrize(("name", "patterns", "flags"), [(None, *GROUPS[-1][1:]), *NAMED])
def test_names(name: str | None, patterns: list[str], flags: str, tmp_path: Path) -> None:
    tok = tl.Tokenizer.from_file(written(name, tmp_path / "named.gguf"))
    # A token that no merge makes is found only where merges are ignored.
    assert (tok.encode_list("aaa") == [257]) == ("i" in flags)
    ids = tok.encode("a", add_special_tokens=True).tolist()
    letter = tok.encode_list("a")
    assert ids == [258] * ("b" in flags) + letter + [260] * ("s" in flags)
    tok.save(tmp_path / "tokenizer.json")
    pre_tokenizer = compat.Tokenizer.from_file(tmp_path / "tokenizer.json").pre_tokenizer
    for text in TEXTS:
        spans = [span for _, span in pre_tokenizer.pre_tokenize_str(text)]
        assert [text[start:end] for start, end in spans] == pieces(text, patterns), repr(text)


@pytest.mark.parametrize("name", REFUSED)
def test_names_without_a_meaning_here_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(tl.errors.UnsupportedFeatureError, match=regex.escape(name)):
        tl.Tokenizer.from_file(written(name, tmp_path / "named.gguf"))
