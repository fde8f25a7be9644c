"""What is ours alone in `tokenloom.compat.tokenizers`: cores that never change, parts that tell their holders."""

import pickle
import threading

import pytest
from tokenloom import errors
from tokenloom.compat import tokenizers as tk
from tokenloom.compat.transformers import Backend, attach


@pytest.fixture
def tokenizer():
    made = tk.Tokenizer(tk.models.WordLevel({"a": 0, "b": 1, "?": 2}, "?"))
    made.pre_tokenizer = tk.pre_tokenizers.Whitespace()
    return made


def test_a_part_tells_everyone_who_holds_it(tokenizer):
    other = tk.Tokenizer(tokenizer.model)
    lower, strip = tk.normalizers.Lowercase(), tk.normalizers.Replace("b", "a")
    tokenizer.normalizer = other.normalizer = tk.normalizers.Sequence([lower, strip])
    assert tokenizer.encode("A B").ids == [0, 0]
    strip.content = "b"
    assert tokenizer.encode("A B").ids == [0, 1]
    assert other.encode("B").ids == [1]
    tokenizer.normalizer[1] = tk.normalizers.Replace("a", "b")
    assert tokenizer.encode("A B").ids == [1, 1]
    strip.content = "?"
    assert tokenizer.encode("A B").ids == [1, 1]
    tokenizer.model.unk_token = "b"
    assert other.encode("zzz").ids == [1]


def test_a_value_that_is_refused_leaves_the_part_as_it_was(tokenizer):
    tokenizer.pre_tokenizer = split = tk.pre_tokenizers.Split(" ", "removed")
    with pytest.raises(errors.TokenloomError):
        split.pattern = {"Regex": "("}
    assert split.pattern == {"String": " "}
    assert tokenizer.encode("a b").ids == [0, 1]
    with pytest.raises(IndexError):
        tk.normalizers.Sequence([])[0]
    with pytest.raises(TypeError):
        tk.normalizers.Sequence([3])


def test_parts_know_their_role(tokenizer):
    for role, part in (
        ("normalizer", tk.decoders.Fuse()),
        ("decoder", tk.normalizers.NFC()),
        ("post_processor", tk.pre_tokenizers.Digits()),
        ("pre_tokenizer", "Digits"),
    ):
        with pytest.raises(TypeError, match="expected a"):
            setattr(tokenizer, role, part)


def test_details_are_made_from_the_core_that_made_the_ids(tokenizer):
    encodings = tokenizer.encode_batch(["a b", ("a", "b a")])
    tokenizer.add_tokens(["a b"])
    tokenizer.model = tk.models.WordLevel({"x": 0}, "x")
    assert [one.tokens for one in encodings] == [["a", "b"], ["a", "b", "a"]]
    assert encodings[1].sequence_ids == [0, 1, 1]
    assert pickle.loads(pickle.dumps(encodings[1])).offsets == [(0, 1), (0, 1), (2, 3)]


def test_one_encoding_can_be_read_and_changed_by_many_threads(tokenizer):
    encoding = tokenizer.encode("a b " * 50)
    failures = []

    def work(number):
        try:
            for _ in range(20):
                assert len(encoding.offsets) >= 100
                assert encoding.tokens[:2] == ["a", "b"]
                encoding.pad(100 + number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_settings_of_a_backend_belong_to_the_thread_that_makes_them(tokenizer):
    backend = Backend.from_str(tokenizer.to_str())
    ours = Backend._load(tokenizer.to_str().encode())
    ours.enable_truncation(1)
    lengths = []

    def work():
        lengths.append(len(ours.encode("a b")))
        ours.no_truncation()
        lengths.append(len(ours.encode("a b")))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert lengths == [1, 2]
    assert len(ours.encode("a b")) == 1
    assert backend.truncation is None


def test_attach_takes_fast_tokenizers_alone(tokenizer):
    with pytest.raises(TypeError, match="fast tokenizer"):
        attach(tokenizer)


def test_dropout_draws_anew_for_each_call():
    vocab = {"a": 0, "b": 1, "ab": 2, "abab": 3}
    model = tk.models.BPE(vocab, [("a", "b"), ("ab", "ab")], dropout=0.5)
    tokenizer = tk.Tokenizer(model)
    seen = {tuple(tokenizer.encode("abab").ids) for _ in range(60)}
    assert len(seen) > 2
    for encoding in tokenizer.encode_batch(["abab" * 3] * 20):
        assert "".join(encoding.tokens) == "abab" * 3
        assert [vocab[token] for token in encoding.tokens] == encoding.ids
