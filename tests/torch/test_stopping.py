"""Stop strings are found wherever the pieces are cut, and nothing of them is released."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tokenloom.torch.stopping import StoppingText


@given(
    st.lists(st.text(alphabet="ab", max_size=3)), st.lists(st.text(alphabet="ab", min_size=1, max_size=4), max_size=3)
)
def test_equals_search_in_the_whole_text(pieces: list[str], stop: list[str]) -> None:
    text = StoppingText(stop)
    released = ""
    n_fed = 0
    for piece in pieces:
        released += text.push(piece)
        n_fed += 1
        if text.stopped:
            break
    released += text.flush()
    whole = "".join(pieces[:n_fed])
    places = [at for string in stop if (at := whole.find(string)) >= 0]
    assert text.stopped == bool(places)
    assert released == text.text == whole[: min(places, default=len(whole))]
