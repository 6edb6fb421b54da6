"""The whole token with Python's integers, one value at a time: written from the contract, shares no code with it.

Rows are lists of int; a scale is ``(mantissa, exponent)``; rounding is ``round`` of a ``Fraction``, which goes half to
even. ``token`` runs one token through a whole model, head by head and block by block, as the machine's decode does.
"""

from fractions import Fraction
from math import isqrt

T = [round(2**15 * 2 ** (i / 256)) for i in range(256)]


def rhe(v, s):
    return round(Fraction(v, 2**s))


def sat(v, bits):
    return max(-(2 ** (bits - 1)), min(2 ** (bits - 1) - 1, v))


def rescale(v, s, bits):
    if s > 47 or v == 0:
        return 0
    return sat(rhe(v, s), bits) if s >= 0 else sat(v * 2**64, bits)


def shift(v, s):
    return v >> s if s >= 0 else v << -s


def scale_of(v):
    e = v.bit_length() - 16
    return (shift(v, e), e) if v else (0, 0)


def multiply(a, b):
    product = a[0] * b[0]
    if not product:
        return 0, 0
    drop = product.bit_length() - 16
    return product >> drop, a[1] + b[1] + drop


def inverse(mantissa, exponent):
    if not mantissa:
        return 0, 0
    m, e = 2**31 // mantissa, -31 - exponent
    return (m, e) if m < 2**16 else (m // 2, e + 1)


def reciprocal_root(v):
    if not v:
        return 0, 0
    s = v.bit_length() - 32
    s += s % 2
    return inverse(isqrt(shift(v, s)), s // 2)


def store(scale, bias=18):
    """(mantissa, exponent, with the bias in it) of a stored scale."""
    m, e = rhe(scale[0], 4), scale[1] + 4 + bias
    if m == 4096:
        m, e = 2048, e + 1
    if not m or e < 0 or (e == 0 and m == 2048):
        return 0, 0
    return (m, e) if e < 32 else (4095, 31)


def one_over(limit):
    """1 / limit as a scale, rounded."""
    e = 0
    while round(Fraction(2**e, limit)) < 2**15:
        e += 1
    return round(Fraction(2**e, limit)), -e


def quantize(row, limit):
    m = max(abs(v) for v in row)
    if not m:
        return [0] * len(row), (0, 0)
    pre = max(m.bit_length() - 23, 0)
    k = 0
    while (limit << k) // (m >> pre) < 2**15:
        k += 1
    inv = (limit << k) // (m >> pre)
    return [rhe((v >> pre) * inv, k) for v in row], multiply(scale_of(m), one_over(limit))


def norm(row, gain, epsilon, factor, limit=127):
    h = max(abs(v) for v in row).bit_length() - 15
    total = sum(shift(v, h) ** 2 for v in row) + shift(epsilon, 2 * (h + 15))
    y = [rhe(shift(v, h - 8) * g, 15) for v, g in zip(row, gain, strict=True)]
    q, s = quantize(y, limit)
    return q, multiply(multiply(s, reciprocal_root(total)), factor)


def linear(q, token, parts, bits):
    total = None
    for part in parts:
        c = part.constants
        y = []
        for n, weights in enumerate(part.weights):
            acc = sum(a * int(w) for a, w in zip(q[part.start : part.stop], weights, strict=True))
            t = rescale(acc * int(c.rows.mantissa[n]), c.first - int(c.rows.exponent[n]), 24)
            y.append(rescale(t * token[0], c.second - token[1], bits))
        total = y if total is None else [sat(a + b, bits) for a, b in zip(total, y, strict=True)]
    return total


def rope(head, row):
    out = list(head)
    for i in range(len(head) // 2):
        c, s = int(row[0][i]), int(row[1][i])
        e, o = head[2 * i], head[2 * i + 1]
        out[2 * i], out[2 * i + 1] = rhe(e * c - o * s, 14), rhe(e * s + o * c, 14)
    return out


def wht(head):
    """By the definition: the sign of element i in sum j is the parity of the bits that i and j share."""
    size = len(head) & -len(head)
    out = []
    for first in range(0, len(head), size):
        block = head[first : first + size]
        out += [sum(v * (-1) ** (i & j).bit_count() for i, v in enumerate(block)) for j in range(size)]
    return out


def attention(query, past, form, c):
    """One query row over ``past``: (k integers, k scale, v integers, v scale) of every token, its own last."""
    q, s = quantize(query, 127)
    qs = multiply(s, (int(c.query_factor.mantissa), int(c.query_factor.exponent)))
    big, total, out = -(2**15), 0, [0] * len(query)
    for first in range(0, len(past), form.block):
        block = past[first : first + form.block]
        z = []
        for keys, (km, ke), _, _ in block:
            t = rescale(sum(a * b for a, b in zip(q, keys, strict=True)) * km, c.first - ke, 24)
            z.append(rescale(t * qs[0], c.second - qs[1], 24))
        new = max(big, -(-max(z) // 256))
        j, big = new - big, new
        p = [T[(v - 256 * big) % 256] >> -((v - 256 * big) // 256) for v in z]
        total = (total >> j) + sum(p)
        w = [sat(x * vm >> max(c.fold - ve, 0), 24) for x, (_, _, _, (vm, ve)) in zip(p, block, strict=True)]
        weights, ws = quantize(w, 127)
        for channel in range(len(out)):
            acc = sum(x * values[channel] for x, (_, _, values, _) in zip(weights, block, strict=True))
            out[channel] = sat((out[channel] >> j) + rescale(acc * ws[0], c.third - ws[1], 32), 32)
    r = inverse(*scale_of(total))
    pre = max(total.bit_length() - c.spare, 0)
    return [rescale(sat(v >> pre, 24) * r[0], c.last - r[1] - pre, 32) for v in out]


def glu(gate, up, fraction, up_fraction, sigmoids):
    index = (gate >> (fraction - 6)) + 512
    sigmoid = 0 if index < 0 else 65535 if index > 1023 else sigmoids[index]
    return rescale(rescale(gate * sigmoid, 16, 24) * up, up_fraction, 32)


def embed(token, table):
    man, exp = int(table.rows.mantissa[token]), int(table.rows.exponent[token])
    out = []
    for d, b, mu in zip(table.weights[token], table.spread, table.mean, strict=True):
        t = rescale(int(d) * 2**16 * man, table.first - exp, 24)
        out.append(sat(rescale(t * int(b), table.second, 32) + int(mu), 32))
    return out


def layer_token(x, layer, past, row, form, sigmoids):
    """One token through one layer; ``past``: a list per KV head, which grows by one."""
    d = 2 * len(row[0])
    split = lambda v: [v[i : i + d] for i in range(0, len(v), d)]  # noqa: E731
    turn = wht if form.rotate else list
    q8, s = norm_of(x, layer.input_norm)
    queries = [turn(rope(h, row)) for h in split(linear(q8, s, layer.q, 24))]
    keys = [turn(rope(h, row)) for h in split(linear(q8, s, layer.k, 24))]
    values = split(linear(q8, s, layer.v, 24))
    for head, (k, v) in enumerate(zip(keys, values, strict=True)):
        k, ks = quantize(k, (3**form.key_digits - 1) // 2)
        v, vs = quantize(v, (3**form.value_digits - 1) // 2)
        past[head].append((k, store(ks), v, store(vs)))
    group = len(queries) // len(keys)
    o = [v for h, q in enumerate(queries) for v in attention(q, past[h // group], form, layer.attention)]
    q8, (m, e) = quantize(o, 127)
    x = [
        sat(a + b, 32)
        for a, b in zip(x, linear(q8, (m, e - layer.attention.output_fraction), layer.o, 32), strict=True)
    ]
    q8, s = norm_of(x, layer.post_norm)
    gate, up = linear(q8, s, layer.gate, 24), linear(q8, s, layer.up, 17)
    h = [glu(g, u, 10, layer.up_fraction, sigmoids) for g, u in zip(gate, up, strict=True)]
    q8, (m, e) = quantize(h, 127)
    return [sat(a + b, 32) for a, b in zip(x, linear(q8, (m, e - 10), layer.down, 32), strict=True)]


def norm_of(row, constants, limit=127):
    factor = (int(constants.factor.mantissa), int(constants.factor.exponent))
    return norm(row, [int(g) for g in constants.gain], constants.epsilon, factor, limit)


def token(number, model, past, sigmoids):
    """Residual words and logits of one token; ``past``: per layer, per KV head, a list that grows by one."""
    row = model.rotary[len(past[0][0])]
    x = embed(number, model.embedding)
    for layer, heads in zip(model.layers, past, strict=True):
        x = layer_token(x, layer, heads, row, model.form, sigmoids)
    q, _ = norm_of(x, model.last_norm, 127 * 128)
    rows = model.head.rows
    smallest = min(int(e) for e, m in zip(rows.exponent, rows.mantissa, strict=True) if m)
    logits = [
        (sum(a * int(w) for a, w in zip(q, weights, strict=True)) * int(m)) << (int(e) - smallest if m else 0)
        for weights, m, e in zip(model.head.weights, rows.mantissa, rows.exponent, strict=True)
    ]
    return x, logits
