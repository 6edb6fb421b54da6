"""Claims: an address gives back its state, only what differs stands in it, and nothing unknown gets through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy.explorer.controls import controls
from energy.explorer.state import State, address, fields_of, job_of, read_address, rivals_of
from hw.errors import InputError

STATES = st.builds(State, **{name: st.sampled_from(control.stops) for name, control in controls().items()})


@given(STATES, st.none() | STATES)
def test_an_address_gives_back_state_and_pin(state, pinned):
    assert read_address(address(state, pinned)) == (state, pinned)


def test_the_default_has_no_address_and_a_state_says_what_differs():
    state = State.default()
    assert address(state) == ""
    assert address(state._replace(array="16x16", prompt=64)) == "prompt=64&array=16x16"


def test_numbers_between_stops_can_be():
    state, _ = read_address("prompt=1000&zeros=0.333")
    assert (state.prompt, state.zeros) == (1000, 0.333)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("model=/etc/passwd", r"model must be one of .*, not '/etc/passwd'"),
        ("array=mine.yaml", r"array must be one of .*, not 'mine.yaml'"),
        ("memory=lpddr5-640", r"did you mean 'lpddr5-6400'"),
        ("prompt=31", r"prompt must be a whole number from 32 to 65536, not '31'"),
        ("prompt=1e3", r"prompt must be a whole number"),
        ("zeros=nan", r"zeros must be a number from 0.0 to 0.9, not 'nan'"),
        ("batch=-1", r"batch must be a whole number from 1 to 128"),
        ("batch=2&batch=4", r"batch must be given once, not as '2' and '4'"),
        ("modell=x", r"control must be one of .*, not 'modell'; did you mean 'model'"),
        ("pin=pin%3Dx", r"control must be one of .*, not 'pin'"),
        ("model=" + "x" * 3000, r"address must have at most 2000 characters"),
    ],
)
def test_what_cannot_be_is_one_line(query, message):
    with pytest.raises(InputError, match=message) as caught:
        read_address(query)
    assert "\n" not in str(caught.value)


def test_a_default_state_is_a_default_job_with_8_bits_of_k_and_v():
    job = job_of(State.default())
    assert job == type(job)(kv_bits=8)
    assert rivals_of(State.default()).hold == "lanes"


@pytest.mark.parametrize(
    ("kv", "fields"),
    [
        ("digits-4-3", {"attention": "array", "key_digits": 4, "value_digits": 3, "kv_bits": 8}),
        ("bits-16", {"attention": "vector", "kv_bits": 16}),
        ("auto", {"kv_bits": 8}),
    ],
)
def test_k_and_v_are_digits_on_the_array_or_bits_beside_it(kv, fields):
    assert fields.items() <= fields_of(State.default()._replace(kv=kv)).items()
