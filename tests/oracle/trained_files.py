"""Small tokenizers of every model and post-processor, trained by `tokenizers` itself."""

import functools
import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [
    "Hello world, how are you today?",
    "the quick brown fox jumps over the lazy dog",
    "naïve café: Zürich’s 12,345 résumés",
    "日本語のテキスト 한국어 emoji 👩‍👩‍👧 ok",
    "  lots   of\tspace\n\n",
    "def f(x):\n    return x**2  # code",
] * 3
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def _train(model, trainer, normalizer, pre_tokenizer, decoder, processor, *added):
    tokenizer = Tokenizer(model)
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    if decoder:
        tokenizer.decoder = decoder
    tokenizer.train_from_iterator(CORPUS, trainer)
    cls, sep = (("[CLS]", tokenizer.token_to_id("[CLS]")), ("[SEP]", tokenizer.token_to_id("[SEP]")))
    tokenizer.post_processor = processor(cls, sep)
    tokenizer.add_tokens(list(added))
    return tokenizer.to_str()


def _template(cls, sep):
    return processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[cls, sep]
    )


def _bpe(**options):
    return trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, show_progress=False, **options)


def _with_byte_tokens(text, pre_tokenizer=None, normalizer=None):
    """A SentencePiece-style file whose unknown characters become their bytes, as in Llama 2 and Gemma."""
    file = json.loads(text)
    vocab = file["model"]["vocab"]
    for byte in range(256):
        vocab[f"<0x{byte:02X}>"] = len(vocab)
    file["model"]["byte_fallback"] = True
    file["pre_tokenizer"] = pre_tokenizer
    file["normalizer"] = normalizer or file["normalizer"]
    file["decoder"]["decoders"].insert(1, {"type": "ByteFallback"})
    return json.dumps(file)


@functools.cache
def trained() -> dict[str, str]:
    """The text of a tokenizer.json by the kind of its model and post-processor."""
    files = _trained()
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    split = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    files["llama2"] = _with_byte_tokens(files["sentencepiece"])
    files["gemma"] = _with_byte_tokens(files["sentencepiece"], split, spaces)
    return files


def _trained() -> dict[str, str]:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    plain = {"special_tokens": SPECIAL, "show_progress": False}
    split = pre_tokenizers.Split(Regex(r"\p{L}+|\p{N}{1,3}|\s+|[^\s\p{L}\p{N}]+"), "isolated")
    return {
        "wordpiece": _train(
            models.WordPiece(unk_token="[UNK]"),
            trainers.WordPieceTrainer(vocab_size=200, **plain),
            normalizers.BertNormalizer(),
            pre_tokenizers.BertPreTokenizer(),
            decoders.WordPiece(),
            lambda cls, sep: processors.BertProcessing(sep, cls),
        ),
        "wordlevel": _train(
            models.WordLevel(unk_token="[UNK]"),
            trainers.WordLevelTrainer(vocab_size=60, **plain),
            normalizers.Lowercase(),
            pre_tokenizers.Whitespace(),
            None,
            _template,
        ),
        "unigram": _train(
            models.Unigram(),
            trainers.UnigramTrainer(vocab_size=150, unk_token="[UNK]", **plain),
            normalizers.NFKC(),
            pre_tokenizers.Metaspace(),
            decoders.Metaspace(),
            _template,
        ),
        "roberta": _train(
            models.BPE(),
            _bpe(initial_alphabet=alphabet),
            None,
            pre_tokenizers.ByteLevel(add_prefix_space=True),
            decoders.ByteLevel(),
            lambda cls, sep: processors.RobertaProcessing(sep, cls, True, False),
            AddedToken("<m>", lstrip=True),
            AddedToken("New", normalized=True, single_word=True),
        ),
        "bytelevel": _train(
            models.BPE(),
            _bpe(initial_alphabet=alphabet),
            normalizers.NFC(),
            pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False)]),
            decoders.ByteLevel(),
            lambda cls, sep: processors.ByteLevel(trim_offsets=True),
        ),
        "llama3": _train(
            models.BPE(),
            _bpe(initial_alphabet=alphabet),
            None,
            pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)]),
            decoders.ByteLevel(),
            lambda cls, sep: processors.Sequence([processors.ByteLevel(trim_offsets=True), _template(cls, sep)]),
        ),
        "sentencepiece": _train(
            models.BPE(unk_token="[UNK]", fuse_unk=True),
            _bpe(),
            normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
            None,
            decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]),
            _template,
        ),
        "charbpe": _train(
            models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>"),
            _bpe(end_of_word_suffix="</w>"),
            normalizers.Lowercase(),
            pre_tokenizers.BertPreTokenizer(),
            decoders.BPEDecoder(),
            _template,
        ),
    }
