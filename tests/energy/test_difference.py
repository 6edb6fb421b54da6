"""Two designs: terms sum to the difference, each is count x cost, and every way to name a design gives the same."""

import json
from xml.etree import ElementTree

import pytest

from energy.__main__ import main
from energy.costs.sources import load_source
from energy.costs.tables import Cost
from energy.designs import load_design
from energy.difference import Difference, PhaseDifference, Quantity, _count, _term, difference_of
from energy.job import Job
from energy.model import energy_of
from energy.reports.difference import difference_sentences, difference_verdict
from energy.reports.pages.difference import waterfall_of
from hw.errors import InputError
from quant.shapes import load_shape
from sim.counts import ActionCounts

FIELDS = {"model": "stories260K", "prefill": 8, "decode": 4}


def designs(one="8x8", other="16x16", **fields):
    return [load_design(word, FIELDS | fields, "options") for word in (one, other)]


def quantities(difference):
    return [quantity for phase in difference.phases for quantity in (phase.latency, phase.energy)]


def test_terms_sum_to_the_difference_of_the_runs_themselves(close):
    a, b = designs()
    difference = difference_of(a, b)
    for phase in difference.phases:
        ends = []
        for design in (a, b):
            run = design.result.phase(phase.phase)
            steps = 1 if phase.phase == "prefill" else 4
            ends.append((design.result.seconds(run) / steps, energy_of(design.result, design.costs).phase(phase.phase)))
        (seconds_a, energy_a), (seconds_b, energy_b) = ends
        assert sum(term.difference for term in phase.latency.terms) == close(seconds_b - seconds_a)
        expected = energy_b.joules_per_token - energy_a.joules_per_token
        assert sum(term.difference for term in phase.energy.terms) == close(expected)


def test_each_difference_is_by_count_and_by_cost_with_nothing_left():
    for quantity in quantities(difference_of(*designs(costs="bitnet-7nm"))):
        for term in quantity.terms:
            assert term.by_count + term.by_cost == pytest.approx(term.difference, rel=1e-12, abs=1e-12 * quantity.a)
            if term.count_a and term.count_b:
                costs = term.a / term.count_a, term.b / term.count_b
                by_hand = (costs[1] - costs[0]) * (term.count_a + term.count_b) / 2
                assert term.by_cost == pytest.approx(by_hand, rel=1e-6, abs=1e-9 * max(term.a, term.b))


def test_dearer_bits_are_by_cost_alone_and_more_bits_by_count_alone(tmp_path):
    """LPDDR5 against HBM2: as many bits, other joules; a K of 16 bits against one of 8: more bits, equal joules."""
    a, b = (load_design("8x8", FIELDS | {"memory": name}, "options") for name in ("lpddr5-6400", "hbm2-2000"))
    (bits,) = [term for term in difference_of(a, b).phases[1].energy.terms if term.key == "dram"]
    assert bits.count_a == bits.count_b
    assert bits.by_count == 0
    assert bits.by_cost == bits.difference != 0
    a, b = (load_design("8x8", FIELDS | {"decode": 1, "kv_bits": bits}, "options") for bits in (8, 16))
    (cache,) = [term for term in difference_of(a, b).phases[1].energy.terms if term.key == "dram_rows"]
    assert cache.count_b > cache.count_a
    assert cache.by_cost == pytest.approx(0, abs=1e-9 * cache.difference)


def test_a_slower_clock_is_dearer_cycles_and_no_more_of_them(tmp_path):
    slow = tmp_path / "slow.yaml"
    from hw.config import load_array

    array = load_array("8x8").model_dump(mode="json") | {"name": "slow", "clock_hz": load_array("8x8").clock_hz / 2}
    slow.write_text(json.dumps(array))
    a, b = designs("8x8", str(slow))
    (ideal,) = [term for term in difference_of(a, b).phases[0].latency.terms if term.key == "ideal"]
    assert (ideal.count_a, ideal.by_count) == (ideal.count_b, 0)
    assert ideal.by_cost == pytest.approx(ideal.a, rel=1e-9)


def test_names_files_jobs_and_finished_runs_give_the_same_design(tmp_path):
    words = [f"--{name}={value}" for name, value in FIELDS.items()]
    main(["sim", *words, "--array", "8x8", "--rivals", "int8", "--out", str(tmp_path / "run")])
    (tmp_path / "job.yaml").write_text(json.dumps({"schema": "tritforge.job.1", "array": "8x8"} | FIELDS))
    named = load_design("8x8", FIELDS, "options")
    job = load_design(str(tmp_path / "job.yaml"), {}, "options")
    folder = load_design(str(tmp_path / "run"), {}, "options")
    file = load_design(str(tmp_path / "run" / "sim-ternary.json"), {}, "options")
    for other in (job, folder, file):
        assert other.result.model_dump(mode="json") == named.result.model_dump(mode="json")
        assert other.costs.sha256() == named.costs.sha256()
        assert difference_of(named, other).fields == []
        assert all(quantity.a == quantity.b for quantity in quantities(difference_of(named, other)))
    rival = load_design(str(tmp_path / "run" / "sim-int8.json"), {}, "options")
    assert (rival.name, rival.result.array.mac) == ("run, int8", "int8")


def test_options_go_before_a_job_file_and_results_take_other_costs(tmp_path):
    job = tmp_path / "job.yaml"
    job.write_text(json.dumps({"array": "8x8", "costs": "horowitz-45nm"} | FIELDS))
    design = load_design(str(job), {"prefill": 16, "costs": "bitnet-7nm"}, "options")
    assert (design.result.prefill, design.result.decode, design.costs.name) == (16, 4, "bitnet-7nm")
    words = [f"--{name}={value}" for name, value in FIELDS.items()]
    main(
        [
            "sim",
            *words,
            "--array",
            "8x8",
            "--costs",
            "horowitz-45nm",
            "--rivals",
            "int8",
            "--out",
            str(tmp_path / "run"),
        ]
    )
    folder, file = str(tmp_path / "run"), str(tmp_path / "run" / "sim-ternary.json")
    assert load_design(folder, {}, "options").costs.name == "horowitz-45nm"
    assert load_design(folder, {"costs": "bitnet-7nm"}, "options").costs.name == "bitnet-7nm"
    assert load_design(file, {"costs": "bitnet-7nm"}, "options").costs.name == "bitnet-7nm"


@pytest.mark.parametrize("words", [("8x8", "16x16"), ("16x16", "8x8")])
def test_the_steps_of_a_waterfall_lead_from_a_to_b(words):
    """The last step ends where the bar of B does, up or down, whatever is put together as the rest."""
    difference = difference_of(*designs(*words))
    for phase in difference.phases:
        for quantity in (phase.latency, phase.energy):
            tree = ElementTree.fromstring(str(waterfall_of(difference, phase.phase, quantity)))
            *_, last = tree.iter("rect")
            links = [float(one.get("x1")[:-1]) for one in tree.iter("line") if one.get("class") == "link"]
            assert links[-1] == pytest.approx(float(last.get("width")[:-1]) + float(last.get("x")[:-1]), abs=0.02)


def test_other_work_is_said_and_named_fields_are_the_only_ones():
    a, b = load_design("8x8", FIELDS, "options"), load_design("8x8", FIELDS | {"prefill": 16}, "options")
    difference = difference_of(a, b)
    assert [field.name for field in difference.fields] == ["prefill"]
    assert difference.notes == ["the designs do not do the same work: prefill is 8 of A and 16 of B"]
    assert (difference.a, difference.b) == ("8x8 (A)", "8x8 (B)")


def test_energies_have_the_ranges_of_the_runs(close):
    a, b = designs()
    for phase in difference_of(a, b).phases:
        for design, found in ((a, phase.energy.range_a), (b, phase.energy.range_b)):
            energy = energy_of(design.result, design.costs).phase(phase.phase)
            assert list(found) == [close(end / energy.tokens) for end in energy.total]
        assert phase.energy.range_a.typical == close(phase.energy.a)
        assert phase.latency.range_a is None


def made(low, typical, high, other_low, other, other_high, equal):
    """A difference of energies of a token written, with these ends."""
    ends = Cost(low, typical, high), Cost(other_low, other, other_high)
    energy = Quantity(
        name="energy", per="token", unit="J", a=typical, b=other, terms=[], range_a=ends[0], range_b=ends[1],
        is_equal=equal,
    )  # fmt: skip
    latency = Quantity(name="latency", per="step", unit="s", a=1.0, b=3.0, terms=[])
    phase = PhaseDifference(phase="decode", latency=latency, energy=energy)
    return Difference(a="old", b="new", phases=[phase], fields=[], notes=[])


def test_what_ranges_cannot_tell_apart_is_called_equal_in_words():
    apart, alike = made(1, 2, 4, 0.9, 1, 3, False), made(1, 2, 4, 0.9, 1, 5, True)
    assert difference_verdict(apart) == (
        "new is better than old in the energy of a token written (50 % less); worse in the time of a decode step "
        "(3.00 times)."
    )
    assert difference_verdict(alike) == (
        "new is worse than old in the time of a decode step (3.00 times); equal in the energy of a token written, "
        "whose ranges from low to high costs cannot be told apart."
    )
    assert difference_sentences(alike)[1] == (
        "A token written takes 1.00 J (900 mJ to 5.00 J) on new and 2.00 J (1.00 J to 4.00 J) on old: equal, as the "
        "ranges from low to high costs go; 50 % less with typical ones."
    )


def test_designs_of_one_memory_share_their_costs_and_others_do_not():
    """Of LPDDR5 and HBM2 the ranges of a token overlap: equal. Of one memory the energy that is less is less."""
    of_other, of_one = (
        difference_of(load_design("8x8", FIELDS, "options"), load_design(word, FIELDS | fields, "options"))
        for word, fields in (("8x8", {"memory": "lpddr4x-4266"}), ("16x16", {}))
    )
    for difference, shared in ((of_other, False), (of_one, True)):
        energy = difference.phases[1].energy
        a, b = energy.range_a, energy.range_b
        overlap = a.low <= b.high and b.low <= a.high
        crossing = (a.low - b.low) * (a.high - b.high) <= 0
        assert overlap
        assert energy.is_equal is (crossing if shared else overlap)
    assert "cannot be told apart" in difference_verdict(of_other)
    same = difference_of(*designs("8x8", "8x8"))
    assert difference_verdict(same) == (
        "8x8 (B) is equal to 8x8 (A) in the time of prefill, the energy of a prompt token, the time of a decode step "
        "and the energy of a token written."
    )


def test_the_command_writes_json_page_and_figures(tmp_path, capsys):
    words = [f"--{name}={value}" for name, value in FIELDS.items()]
    main(["compare", "8x8", "16x16", *words, "--out", str(tmp_path), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["version"]) == ("tritforge.difference", 1)
    assert (document["a"], document["b"]) == ("8x8", "16x16")
    files = {path.name for path in tmp_path.iterdir()}
    figures = {f"{phase}-{quantity}.svg" for phase in ("prefill", "decode") for quantity in ("latency", "energy")}
    assert files == {"difference.json", "report.html", *figures}
    job = Job(**FIELDS, array="16x16")
    run = job.simulate(load_shape("stories260K"), load_design("16x16", FIELDS, "").result.array)
    energy = energy_of(run, load_source(job.costs)).phase("decode")
    assert document["phases"][1]["energy"]["b"] == pytest.approx(energy.joules_per_token, rel=1e-12)


def test_make_words_name_designs(tmp_path, capsys):
    main(["compare", "DESIGNS=8x8 16x16", "MODEL=stories260K", "PREFILL=8", "DECODE=4", f"OUT={tmp_path}"])
    assert "A token written takes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["8x8"], "designs must be two, not 1: 8x8"),
        (["8x8", "16x16", "4x4"], "designs must be two, not 3"),
        (["8x8", "zzz"], "array must be .*not 'zzz'"),
        (["8x8", "16x16", "--array", "4x4"], "array must be the design itself, '8x8', not an option beside it"),
        (["8x8", "16x16", "--methods", "rtn"], "methods must be left out beside two designs"),
        (["8x8", "16x16", "--seed", "3"], "seed must be left out beside two designs"),
        (["8x8", "nothing.json"], "nothing.json: no such file; simulate again"),
        (["8x8", "nowhere/energy.json"], "nowhere/energy.json: no such file; simulate again"),
    ],
)
def test_what_cannot_be_compared_is_one_line(words, message, tmp_path):
    with pytest.raises(InputError, match=message) as caught:
        main(["compare", *words, "--out", str(tmp_path / "out")])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_finished_runs_take_no_options_of_a_job_and_jobs_no_fields_of_others(tmp_path):
    words = [f"--{name}={value}" for name, value in FIELDS.items()]
    main(["sim", *words, "--array", "8x8", "--rivals", "int8", "--out", str(tmp_path / "run")])
    run = str(tmp_path / "run")
    with pytest.raises(InputError, match="batch must be left out beside finished results"):
        main(["compare", run, run, "--batch", "2"])
    main(["compare", run, run, "--costs", "bitnet-7nm", "--out", str(tmp_path / "out")])
    document = json.loads((tmp_path / "out" / "difference.json").read_text())
    assert all(quantity["a"] == quantity["b"] for phase in document["phases"] for quantity in (phase["energy"],))
    (tmp_path / "job.yaml").write_text("model: stories260K\nmethod: rtn\n")
    with pytest.raises(InputError, match=r"field 'method' must be one of .*by its results: tritforge sim --job"):
        load_design(str(tmp_path / "job.yaml"), {}, "options")
    (tmp_path / "run" / "energy.json").write_text('{"schema": "tritforge.energy", "version": 1, "machines": []}')
    with pytest.raises(InputError, match="must hold costs and machines; simulate again"):
        load_design(run, {}, "options")


@pytest.mark.parametrize(
    ("values", "counts", "expected"),
    [
        (({"x": 6.0}, {}), ({"x": 3.0}, {}), (6.0, 0.0, 3.0, 0.0, -6.0, 0.0)),  # what only the first one has
        (({}, {"x": 6.0}), ({}, {"x": 3.0}), (0.0, 6.0, 0.0, 3.0, 6.0, 0.0)),
        (({"x": 6.0}, {"x": 20.0}), ({"x": 3.0}, {"x": 4.0}), (6.0, 20.0, 3.0, 4.0, 3.5, 10.5)),  # 2 and 5 each
        (({"x": 6.0}, {"x": 9.0}), ({}, {}), (6.0, 9.0, 0.0, 0.0, 0.0, 3.0)),  # nothing is counted
    ],
)
def test_a_term_by_hand(values, counts, expected):
    """By count: more of them at the mean of both costs; by cost: the rest."""
    term = _term("x", "things", list(values), list(counts))
    assert (term.key, term.counted) == ("x", "things")
    assert (term.a, term.b, term.count_a, term.count_b, term.by_count, term.by_cost) == expected


def test_bits_of_buffers_are_of_all_three_read_and_written():
    names = [
        f"{buffer}_{way}_bits"
        for buffer in ("weight_buffer", "activation_buffer", "accumulator")
        for way in ("read", "write")
    ]
    counts = ActionCounts(**{name: 10.0**place for place, name in enumerate(names)})
    assert _count("sram", counts, 5.0) == 111_111
    assert _count("what is in no list", counts, 5.0) == 5.0
