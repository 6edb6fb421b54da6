"""Claims: every format gives the products that its layers are, by hand; what is unknown is refused by name."""

from itertools import product
from pathlib import Path

import pytest

from hw.errors import InputError
from sim.workload.einsum import product_of
from sim.workload.read import read_workload

CONVOLUTION = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides"

ZIGZAG = """
- id: 0
  operator_type: Conv
  equation: O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]
  dimension_relations: [ix=2*ox+1*fx, iy=2*oy+1*fy]
  loop_dims: [B, K, C, OY, OX, FY, FX]
  loop_sizes: [2, 64, 3, 112, 56, 7, 5]
- id: 1
  operator_type: Pooling
  equation: O[b][g][oy][ox]+=W[fx][fy]*I[b][g][iy][ix]
  loop_dims: [B, G, OY, OX, FX, FY]
  loop_sizes: [1, 64, 56, 56, 3, 3]
- id: 2
  name: sum
  operator_type: Add
  equation: O[b][g]=W[b][g]+I[b][g]
  loop_dims: [B, G]
  loop_sizes: [1, 64]
- id: 3
  operator_type: Gemm
  equation: O[b][d][k]+=I[b][d][c]*W[c][k]
  loop_dims: [B, D, K, C]
  loop_sizes: [4, 5, 6, 7]
"""

PYTHON = """
workload = {
    1: {'equation': 'O[g][b][k][oy][ox]+=W[g][k][c][fy][fx]*I[g][b][c][ix][iy]',
        'equation_relations': ['ix=ox+fx-1', 'iy=oy+fy-1'],
        'loop_dim_size': {'B': 2, 'K': 16, 'C': 3, 'OY': 11, 'OX': 13, 'FY': 3, 'FX': 5, 'G': 7},
        'output_destination': ...},
    'add': {'equation': 'O[b]=X[b]+Y[b]', 'loop_dim_size': {'B': 2}},
}
"""

TIMELOOP = """
problem:
  version: "0.4"
  shape:
    name: layer
    dimensions: [C, M, R, S, N, P, Q]
    coefficients: [{name: Wstride, default: 1}]
    data-spaces:
    - {name: Inputs, projection: [[[N]], [[C]], [[R], [P, Wstride]], [[S], [Q, Wstride]]]}
    - {name: Weights, projection: [[[C]], [[M]], [[R]], [[S]]]}
    - {name: Outputs, projection: [[[N]], [[M]], [[Q]], [[P]]], read-write: true}
  instance: {C: 3, M: 96, R: 11, S: 11, N: 2, P: 55, Q: 54, Wstride: 4}
"""

EINSUMS = """
workload:
  rank_sizes:
    {% set N_TOKENS = N_TOKENS | default(32) %}
    B: 2
    M: {{N_TOKENS}}
    P: {{N_TOKENS}}
    H: 4
    E: 8
    F: 8
    D: 4*8
  einsums:
  - "V[b, m, h, e] = I[b, m, d] * WV[h, e, d]"
  - einsum: "QK[b, m, p, h] = Q[b, m, h, e] * K[b, M: p, h, e]"
    renames: {input: Q}
  - "S[b, m, p, h] = QK[b, m, p, h]"
  - name: depthwise
    tensor_accesses:
    - {name: T, projection: {P0: p1 + r, H: h}}
    - {name: WT, projection: [r, h]}
    - {name: U, projection: [p1, h], output: True}
    iteration_space_shape: [0 <= r < 3, 0 <= p1 < 28]
"""


def read(tmp_path, text, name="w.csv", **fields):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_workload(path, fields)


def sizes(workload):
    return [(one.name, one.m, one.n, one.k, one.count) for one in workload.products]


def refusal(tmp_path, text, name="w.csv", **fields):
    with pytest.raises(InputError) as caught:
        read(tmp_path, text, name, **fields)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_plain_rows_are_found_by_the_names_of_their_columns(tmp_path):
    found = read(tmp_path, "\ufeffk,n,name,m\n3,2,a,1\n# remark\n\n30,20,a,10,\n")
    assert sizes(found) == [("a", 1, 2, 3, 1), ("a #2", 10, 20, 30, 1)]
    assert sizes(read(tmp_path, "m;n;k;count\n4;5;6;7\n")) == [("product 2", 4, 5, 6, 7)]
    assert sizes(read(tmp_path, "Layer,M,N,K,\nQKT,1024,512,64,\n")) == [("QKT", 1024, 512, 64, 1)]


def test_a_convolution_is_the_product_of_its_windows(tmp_path):
    rows = f"{CONVOLUTION},\nBlock,\nconv,224,223,11,9,3,96,4,\nDP1, 9, 9, 3, 3, 32, 2, 1,#dw\n"
    windows = len(range(0, 224 - 11 + 4, 4)) * len(range(0, 223 - 9 + 4, 4))
    expected = [("Block / conv", windows, 96, 11 * 9 * 3, 1), ("Block / DP1", 49, 2, 9, 32)]
    assert sizes(read(tmp_path, rows)) == expected


def test_strides_apart_and_batches(tmp_path):
    found = read(tmp_path, f"{CONVOLUTION},Stride width,Batch size\nc,8,9,2,3,5,7,2,3,10\n")
    assert sizes(found) == [("c", 4 * 3 * 10, 7, 2 * 3 * 5, 1)]


def test_zigzag_layers_and_what_is_no_product(tmp_path):
    found = read(tmp_path, ZIGZAG, "w.yaml")
    assert sizes(found) == [("layer 0", 2 * 112 * 56, 64, 3 * 7 * 5, 1), ("layer 3", 20, 6, 7, 1)]
    assert found.left_out == ("layer 1 (Pooling)", "sum (Add)")


def test_zigzags_python_files_are_read_and_not_run(tmp_path):
    found = read(tmp_path, PYTHON, "w.py")
    assert sizes(found) == [("layer 1", 2 * 11 * 13, 16, 3 * 3 * 5, 7)]
    assert len(found.left_out) == 1
    assert "literal" in refusal(tmp_path, "workload = {1: print('run')}", "w.py")


def test_a_timeloop_problem(tmp_path):
    assert sizes(read(tmp_path, TIMELOOP, "w.yaml")) == [("layer", 2 * 55 * 54, 96, 3 * 11 * 11, 1)]


def test_accelforge_einsums_behind_their_template(tmp_path):
    found = read(tmp_path, EINSUMS, "w.yaml", N_TOKENS=16)
    assert sizes(found) == [("V", 32, 32, 32, 1), ("QK", 16, 16, 8, 8), ("depthwise", 28, 1, 3, 4)]
    assert found.left_out == ("S",)
    assert read(tmp_path, EINSUMS, "w.yaml").products[0].m == 64


@pytest.mark.parametrize(
    ("inputs", "weights", "output"),
    list(product(["ab", "abc", "acd", "abcd"], ["bc", "abd", "bcd"], ["ac", "abc", "ad"])),
)
def test_sorted_variables_count_the_multiplications_of_the_loops(inputs, weights, output):
    extents = {"a": 2, "b": 3, "c": 5, "d": 7}
    found = product_of("x", extents, set(inputs), set(weights), set(output))
    used = set(inputs) | set(weights) | set(output)
    lone = any((one in inputs) + (one in weights) + (one in output) == 1 for one in used)
    if found is None:
        summed = [one for one in used if one in inputs and one in weights and one not in output]
        assert lone or not summed
        return
    loops = len(list(product(*(range(extents[one]) for one in used))))
    assert not lone
    assert found["m"] * found["n"] * found["k"] * found["count"] == loops


def test_what_multiplies_element_by_element_is_no_matrix_product():
    assert product_of("x", {"a": 9, "b": 9}, {"a", "b"}, {"a", "b"}, {"a", "b"}) is None
    assert product_of("x", {"a": 9, "b": 8}, {"a"}, {"b"}, {"a", "b"}) == {
        "name": "x",
        "m": 9,
        "n": 8,
        "k": 1,
        "count": 1,
    }


@pytest.mark.parametrize(
    ("text", "name", "part"),
    [
        ("", "w.csv", "must start with a header such as name,m,n,k"),
        ("name,m,n,kk\na,1,2,3\n", "w.csv", "unknown column 'kk'"),
        ("name,m,n\na,1,2\n", "w.csv", "header must have column 'k' once"),
        ("1,2,3,4\n", "w.csv", "unknown column '1'"),
        ("name,m,n,k\na,1,2\n", "w.csv", "line 2: must have 4 cells"),
        ("name,m,n,k\na,1,2,x\n", "w.csv", "line 2: field 'k'"),
        ("name,m,n,k\na,0,2,3\n", "w.csv", "line 2: field 'm'"),
        ("name,m,n,k\n", "w.csv", "must hold at least one matrix product"),
        (f"{CONVOLUTION},Padding\nc,8,8,3,3,1,1,1,1\n", "w.csv", "unknown column 'padding'"),
        (f"{CONVOLUTION}\nc,8,8,9,3,1,1,1\n", "w.csv", "line 2: filter height must be at most IFMAP height 8, not 9"),
        (f"{CONVOLUTION}\nc,8,B,3,3,1,1,1\n", "w.csv", "line 2: ifmap width must be a whole number from 1, not 'B'"),
        ("Layer,M,N,K,Sparsity,\na,1,2,3,2:4,\n", "w.csv", "sparsity must be 1:1, not '2:4'"),
        ("- {id: 0, equations: x}", "w.yaml", "unknown field 'equations'; did you mean"),
        ("- 3", "w.yaml", "layer 0: must be a mapping"),
        (ZIGZAG.replace("[2, 64,", "[64,"), "w.yaml", "loop_sizes must be 7 as loop_dims, not 6"),
        (ZIGZAG.replace("[c][k]", "[c][z]"), "w.yaml", "equation's 'z' must be a loop of the layer"),
        (TIMELOOP.replace("M: 96, ", ""), "w.yaml", "problem.instance.M must be a whole number from 1, not None"),
        (TIMELOOP.replace("[C, M,", "[{size: C}, M,"), "w.yaml", "problem.instance.None must be a whole number"),
        (TIMELOOP.replace("[C, M, R, S, N, P, Q]", "C"), "w.yaml", "problem.shape.dimensions must be a list, not 'C'"),
        (
            TIMELOOP.replace("- {name: Inputs", "- [] #"),
            "w.yaml",
            "data-spaces must hold mappings, not []",
        ),
        (TIMELOOP.replace("dimensions", "dims"), "w.yaml", "problem.shape: unknown field 'dims'; known fields: name, "),
        (EINSUMS.replace("    D: 4*8\n", ""), "w.yaml", "variable 'd' must have a size: rank_sizes D"),
        (
            EINSUMS.replace("B: 2", "B: {{BATCH}}"),
            "w.yaml",
            "'BATCH' is undefined; give a variable as --workload-fields",
        ),
        (EINSUMS.replace("einsums:", "einsum:"), "w.yaml", "workload: unknown field 'einsum'; did you mean"),
        ("model: x", "w.yaml", "must be a list of layers (ZigZag), or have a field problem"),
        ("x", "w.onnx", "workload must be a .csv"),
        ("x = 1", "w.py", "must assign a dictionary of layers to 'workload'"),
    ],
)
def test_faults_are_named(tmp_path, text, name, part):
    assert part in refusal(tmp_path, text, name)


def test_a_square_has_weights_too(tmp_path):
    text = "workload:\n  rank_sizes: {A: 2, B: 3, C: 4}\n  einsums:\n  - einsum: 'Y[a, c] = X[a, b] * X[b, c]'\n"
    assert sizes(read(tmp_path, text + "    renames: {input: X}\n", "w.yaml")) == [("Y", 2, 4, 3, 1)]


def test_a_missing_file_and_a_variable_that_no_template_has(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_workload(Path(tmp_path / "none.csv"))
    assert "must have a variable N" in refusal(tmp_path, "name,m,n,k\na,1,2,3\n", N=3)
