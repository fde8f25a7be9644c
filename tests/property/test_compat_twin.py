"""Cutting, joining, finishing and filling against the short twin."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenloom.compat.tokenizers import Tokenizer, models, pre_tokenizers, processors
from tokenloom.errors import ParamsError
from tokenloom.reference import compat as twin

CLS, SEP, PAD = 10, 11, 12
VOCAB = {str(id): id for id in range(10)} | {"[CLS]": CLS, "[SEP]": SEP, "[PAD]": PAD}

sequences = st.lists(st.integers(0, 9), max_size=12).map(tuple)


def made():
    tokenizer = Tokenizer(models.WordLevel(VOCAB, "[PAD]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", [("[CLS]", CLS), ("[SEP]", SEP)]
    )
    return tokenizer


def tree(encoding):
    return tuple(encoding.ids), tuple(map(tree, encoding.overflowing))


@settings(max_examples=150, deadline=None)
@given(
    first=sequences,
    second=st.none() | sequences,
    room=st.integers(0, 9),
    stride=st.integers(0, 3),
    strategy=st.sampled_from(["longest_first", "only_first", "only_second"]),
    direction=st.sampled_from(["left", "right"]),
)
def test_truncation_and_templates(first, second, room, stride, strategy, direction):
    tokenizer = made()
    template = [CLS, "A", SEP] if second is None else [CLS, "A", SEP, "B", SEP]
    try:
        cut = twin.truncate(first, second, room, stride, strategy, direction)
        expected = twin.finish(cut, template)
    except ValueError:
        expected = None
    texts = [" ".join(map(str, ids)) for ids in (first, second) if ids is not None]
    n_added = sum(isinstance(piece, int) for piece in template)
    try:
        tokenizer.enable_truncation(room + n_added, stride=stride, strategy=strategy, direction=direction)
        found = tree(tokenizer.encode(*texts))
    except ParamsError:
        found = None
    # A stride that is too large is refused before a text needs it.
    assert found == expected or (found is None and stride > room + n_added - 2)


@given(ids=sequences, length=st.integers(0, 20), direction=st.sampled_from(["left", "right"]))
def test_padding(ids, length, direction):
    tokenizer = made()
    tokenizer.post_processor = None
    tokenizer.enable_padding(length=length, pad_id=PAD, direction=direction)
    encoding = tokenizer.encode(" ".join(map(str, ids)))
    assert tuple(encoding.ids) == twin.pad(ids, length, PAD, direction)
    assert encoding.attention_mask == [int(id != PAD) for id in encoding.ids]
